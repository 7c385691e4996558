// What this client sends: which camera and microphone are open, and their place in
// the page, which is the lobby before a call and the settings during one.

import * as devices from "./devices.js";

const kinds = { video: "camera", audio: "microphone" };

/**
 * The open devices. Dispatches "track" events when another track, or none, is open
 * of a kind: their detail is {kind, track}; and "gone" events when a device went
 * away by itself: {kind, words}.
 */
export class Media extends EventTarget {
  #ui; #level = { stop() {} }; #mix; #work = Promise.resolve();

  /** audio and video are tracks or null; screen belongs to whoever shares it. */
  tracks = { audio: null, video: null, screen: null };

  /** ui are the elements by id; mix is what plays the room's sound. */
  constructor(ui, mix) {
    super();
    this.#ui = ui;
    this.#mix = mix;
    ui.camera.addEventListener("change", () => this.open(["video"]));
    ui.microphone.addEventListener("change", () => this.open(["audio"]));
    ui.loudspeaker.addEventListener("change", () => this.#listen());
    // Only some browsers let a page choose where it is heard.
    ui["loudspeaker-label"].hidden = !mix.setSinkId;
    navigator.mediaDevices?.addEventListener("devicechange", () => this.fill());
  }

  /** Opens what is chosen of these kinds, one after the other, and says what could not be had. */
  open(wanted = ["video", "audio"]) {
    this.#work = this.#work.then(async () => {
      const notes = [];
      for (const kind of wanted) notes.push(await this.#open(kind));
      this.#ui["device-note"].textContent = notes.filter(Boolean).join(" ");
      // Browsers tell the devices' names only after permission was given.
      await this.fill();
    });
    return this.#work;
  }

  async #open(kind) {
    const before = this.tracks[kind];
    const enabled = before?.enabled ?? true;
    before?.stop(); // phones have only one camera open at a time
    const { track, note } = await devices.open(kind, this.#ui[kinds[kind]].value);
    if (track) {
      track.enabled = enabled; // who is muted stays so
      track.addEventListener("ended", () => this.#gone(kind, track));
    }
    this.tracks[kind] = track;
    if (kind === "audio") this.meter();
    this.dispatchEvent(new CustomEvent("track", { detail: { kind, track } }));
    return note;
  }

  /** A device went away: the system's choice of those left takes its place. */
  async #gone(kind, track) {
    if (this.tracks[kind] !== track) return;
    this.dispatchEvent(new CustomEvent("gone", { detail: { kind, words: devices.explainEnd(kind) } }));
    await this.fill();
    await this.open([kind]);
  }

  /** Lists what there is to choose from. */
  async fill() {
    const { camera, microphone, loudspeaker } = this.#ui;
    const idOf = (kind, select) => this.tracks[kind]?.getSettings().deviceId ?? select.value;
    await devices.fill(camera, "videoinput", idOf("video", camera));
    await devices.fill(microphone, "audioinput", idOf("audio", microphone));
    if (this.#mix.setSinkId) await devices.fill(loudspeaker, "audiooutput", loudspeaker.value);
  }

  /** Shows the microphone's level, in a page that has it in view; else stops doing so. */
  meter(inView = this.#ui["mic-level"].checkVisibility?.() ?? true) {
    this.#level.stop();
    this.#level = devices.watchLevel(inView ? this.tracks.audio : null, this.#ui["mic-level"]);
  }

  async #listen() {
    try {
      await this.#mix.setSinkId(this.#ui.loudspeaker.value);
    } catch (error) {
      this.#ui["device-note"].textContent = error.message;
    }
  }
}
