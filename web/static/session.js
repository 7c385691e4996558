// One stay in a room: a PeerConnection, and the session resource behind it.
// The client offers once; there is never a second offer. Its three m-lines are
// fixed: sound, camera, screen. Devices come and go by replaceTrack. A data channel
// beside them brings the room's events. See network.js for what happens when the
// network changes.

import { Events } from "./events.js";
import { Network } from "./network.js";
import { refusal } from "./problems.js";
import { send } from "./token.js";
import { Limiter, atFirst, encodingFor } from "./uplink.js";

// Pictures change their size by themselves (a phone is turned, a shared window
// pulled), and paths what they carry. How often that is looked at, in milliseconds.
const lookEvery = 2000;

export class Session extends EventTarget {
  #pc = null;
  #url = null;
  #events = null;
  #network = null;
  #audio; #camera; #screen;
  #limits = {};
  #looks = 0;

  /** stream is the mix: one sound, one picture. Fill a <video> with it. */
  stream = new MediaStream();
  participant = null;

  /**
   * Joins; before, if it is given, is the session that this one takes the place
   * of: the client is the same participant as there. Dispatches "state" events whose
   * detail is a RTCPeerConnectionState ("failed" is final), "echo" events whose detail
   * says whether the others hear themselves through this client's loudspeaker, "event"
   * events, whose detail is one of the room's, and "over" when the server has ended the
   * session; the detail is the reason, as an Error.
   * Throws an Error as refusal makes them.
   */
  async join(room, { name, pin }, { audio, video }, before = null) {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: await this.#iceServers() });
    this.#pc = pc;
    pc.ontrack = ({ track, receiver }) => {
      // The picture waits for the sound by the reports of the server; the
      // browser need not add a reserve of its own.
      receiver.playoutDelayHint = 0;
      this.stream.addTrack(track);
    };
    const tell = (state) => this.dispatchEvent(new CustomEvent("state", { detail: state }));
    // That there is no path is not the end: the network may be another one.
    pc.onconnectionstatechange = () => {
      const { connectionState: state, iceConnectionState: path } = pc;
      tell(state === "failed" && path === "failed" ? "disconnected" : state);
    };
    this.#network = new Network(pc);
    this.#network.addEventListener("lost", () => tell("failed"));
    this.#audio = pc.addTransceiver(audio ?? "audio", { direction: "sendrecv" });
    this.#camera = pc.addTransceiver(video ?? "video", {
      direction: "sendrecv", sendEncodings: [encodingFor(atFirst, video?.getSettings() ?? {})],
    });
    this.#screen = pc.addTransceiver("video", { direction: "sendonly" });
    this.#events = new Events(Events.openChannel(pc));
    this.#limits.camera = new Limiter(this.#camera.sender, atFirst);
    this.#limits.screen = new Limiter(this.#screen.sender, {});
    try {
      await pc.setLocalDescription();
      const query = new URLSearchParams({ ...(name && { name }), ...(before?.secret && { replaces: before.secret }) });
      const response = await send(`/v1/rooms/${encodeURIComponent(room)}/participants?${query}`, {
        method: "POST",
        headers: { "Content-Type": "application/sdp", ...(pin && { "Room-Pin": pin }) },
        body: pc.localDescription.sdp,
      });
      if (response.status !== 201) throw await refusal(response);
      this.#url = response.headers.get("Location");
      this.participant = /<([^>]+)>;\s*rel="describedby"/.exec(response.headers.get("Link") ?? "")?.[1] ?? null;
      const sdp = await response.text();
      await pc.setRemoteDescription({ type: "answer", sdp });
      this.#network.begin(this.#url, sdp);
      this.#listen();
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  /** Follows what the server tells this participant; it reconnects by itself. */
  #listen() {
    this.#looks = setInterval(() => this.#look(), lookEvery);
    let echo = false;
    this.#events.addEventListener("event", ({ detail: event }) => {
      if (event.type === "uplink") this.#limits[event.data.source]?.apply(event.data);
      if (event.type === "participant.updated" && event.data.id === this.id && event.data.status.echo !== echo) {
        echo = event.data.status.echo;
        this.dispatchEvent(new CustomEvent("echo", { detail: echo }));
      }
      this.dispatchEvent(new CustomEvent("event", { detail: event }));
    });
    this.#events.addEventListener("over", ({ detail }) => this.dispatchEvent(new CustomEvent("over", { detail })));
    this.#events.begin(this.#url);
  }

  /** The participant is in another room now, and who it was. */
  set room(room) { if (this.participant) this.participant = `/v1/rooms/${encodeURIComponent(room)}/participants/${this.id}`; }

  /** The participant's id. */
  get id() { return this.participant?.split("/").pop() ?? ""; }

  /** What proves to the server who this was. */
  get secret() { return this.#url?.split("/").pop() ?? ""; }

  /** Where events come from: "channel", "stream", or "" before the first. */
  get source() { return this.#events?.source ?? ""; }

  /** Writes to everybody, or to one participant; see Events.write. */
  write(text, to) { return this.#events.write(text, to); }

  /** Is heard again, where the server mutes this client and the room lets it. Throws an Error as refusal makes them. */
  async unmute() {
    const response = await fetch(this.#url, { // its secret suffices
      method: "PATCH", headers: { "Content-Type": "application/merge-patch+json" }, body: JSON.stringify({ send: { audio: { muted: false } } }),
    });
    if (!response.ok) throw await refusal(response);
  }

  async #look() {
    const stats = [...(await this.#pc.getStats()).values()];
    const room = stats.find((s) => s.type === "candidate-pair" && s.nominated)?.availableOutgoingBitrate;
    for (const limit of Object.values(this.#limits)) limit.look(room);
  }

  async #iceServers() {
    const response = await send("/v1/ice-servers");
    return response.ok ? (await response.json()).iceServers ?? [] : [];
  }

  setAudio(track) { return this.#audio.sender.replaceTrack(track); }

  async setCamera(track) {
    await this.#camera.sender.replaceTrack(track);
    await this.#limits.camera.apply();
  }

  async setScreen(track) {
    await this.#screen.sender.replaceTrack(track);
    await this.#limits.screen.apply();
  }

  /** The W3C statistics of the connection, for the curious and for tests. */
  getStats() { return this.#pc.getStats(); }

  /**
   * Leaves; also right while the page goes away. The session is ended before
   * the connection, whose goodbye would end it as well, and the server would
   * not know it any more.
   */
  leave() {
    const url = this.#url;
    const pc = this.#end();
    if (!url) return pc?.close();
    const patience = AbortSignal.timeout(2000);
    fetch(url, { method: "DELETE", keepalive: true, signal: patience }).catch(() => {}).finally(() => pc.close());
  }

  /** Lets go of the connection without leaving: another session has taken the place of this one. */
  drop() { this.#end()?.close(); }

  #end() {
    this.#url = null;
    this.#network?.close();
    this.#events?.close();
    clearInterval(this.#looks);
    return this.#pc;
  }
}
