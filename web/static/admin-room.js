// One room in the admin page: what it looks like, and what can be done about it.
// Who is in it is in admin-people.js.
import { copyLink, roomPath, send } from "./admin-server.js";
import { People } from "./admin-people.js";
import { list, make, put } from "./dom.js";
import { number, t } from "./i18n.js";

/** What a room is called. */
export const nameOf = (room) => room.name || room.id;

export class RoomView {
  #ui; #act; #ask; #room = null; #bans = []; #people;

  /**
   * ui are the elements by id; act(control, words, f) does something that a
   * control asks for, and tells of it; ask is an Ask.
   */
  constructor(ui, act, ask) {
    this.#ui = ui;
    this.#act = act;
    this.#ask = ask;
    this.#people = new People(ui, act, ask);
    ui["room-layout"].addEventListener("change", () => this.#act(ui["room-layout"], t("The picture is arranged anew."),
      () => send("PATCH", roomPath(this.#room.id, "/layout"), { mode: ui["room-layout"].value })));
    const click = (id, f) => ui[id].addEventListener("click", f);
    click("room-mute", () => this.#act(ui["room-mute"], t("Everybody is muted."),
      () => send("PATCH", roomPath(this.#room.id, "/participants"), { send: { audio: { muted: true } } })));
    this.#toggle("room-locked", "locked", () => t("Nobody else can come in."), () => t("Everybody can come in again."));
    this.#toggle("room-waiting", "waitingRoom", () => t("Who comes waits until you let them in."), () => t("Who comes is let in, and so is who has waited."));
    this.#toggle("room-silent", "mutedOnJoin", () => t("Who comes is muted."), () => t("Who comes is heard."));
    this.#toggle("room-unmute", "selfUnmute", () => t("Who is muted can change that."), () => t("Who is muted stays so until you change that."));
    this.#toggle("room-lasting", "persistent", () => t("The room stays when all have left, and when the server starts anew."), () => t("The room ends after all have left."));
    click("room-record", () => this.#record());
    click("room-invite", () => this.#act(ui["room-invite"], t("The link is copied. Whoever has it can join."), () => copyLink(this.#room.id)));
    click("room-pin", () => this.#pin());
    click("room-rename", () => this.#rename());
    click("room-end", () => this.#end());
  }

  /** A button that turns something of the room on and off. */
  #toggle(id, field, on, off) {
    const button = this.#ui[id];
    button.dataset.field = field;
    button.addEventListener("click", () => {
      const wanted = !this.#room[field];
      this.#set(button, { [field]: wanted }, wanted ? on() : off());
    });
  }

  /** Shows a room, which is a document of the API, the people in it, and its bans. */
  show(room, people, bans) {
    this.#room = room;
    this.#bans = bans;
    const ui = this.#ui;
    put(ui["room-title"], nameOf(room));
    ui["room-link"].href = `/r/${encodeURIComponent(room.id)}`;
    const { status, canvas } = room;
    put(ui["room-words"], [
      nameOf(room) !== room.id && room.id,
      t("{n} of {most} people", { n: status.participants, most: room.maxParticipants }),
      status.waiting && t("{n} waiting|{n} waiting", { n: status.waiting }),
      status.hidden && t("{n} hidden|{n} hidden", { n: status.hidden }),
      status.viewers && t("{n} watching|{n} watching", { n: status.viewers }),
      t("{cores} cores", { cores: number(status.cores, 2) }),
      `${canvas.width}x${canvas.height}@${canvas.fps}`,
    ].filter(Boolean).join(" · "));
    if (document.activeElement !== ui["room-layout"]) ui["room-layout"].value = room.layout.mode;
    for (const id of ["room-locked", "room-waiting", "room-silent", "room-unmute", "room-lasting"]) {
      ui[id].setAttribute("aria-pressed", String(room[ui[id].dataset.field]));
    }
    put(ui["room-pin"], room.pin ? t("Change the PIN…") : t("Set a PIN…"));
    ui["room-record"].classList.toggle("danger", Boolean(status.recording));
    put(ui["room-record"], status.recording ? t("Stop recording") : t("Record"));
    ui["room-mute"].disabled = !people.some((p) => p.send.audio.codec && !p.send.audio.muted);
    this.#people.show(room, people);
    ui.bans.hidden = bans.length === 0;
    list(ui["ban-list"], bans, (b) => b.id, (b) => this.#ban(b), (row, b) => {
      put(row.querySelector("b"), b.identity || b.address);
      put(row.querySelector("button"), t("Lift"));
      row.querySelector("button").setAttribute("aria-label", t("Lift the ban of {who}", { who: b.identity || b.address }));
    });
  }

  #ban({ id }) {
    const button = make("button", { type: "button" });
    button.addEventListener("click", () => this.#act(button, t("The ban is lifted."), () => send("DELETE", roomPath(this.#room.id, `/bans/${id}`))));
    return make("li", {}, make("b", { dir: "auto" }), button);
  }

  #set(button, change, words) {
    return this.#act(button, words, () => send("PATCH", roomPath(this.#room.id), change));
  }

  #record() {
    const { recording } = this.#room.status;
    return this.#act(this.#ui["room-record"], recording ? t("The recording is saved.") : t("Recording, and everybody is told so."), () => recording
      ? send("PATCH", `/v1/recordings/${encodeURIComponent(recording)}`, { state: "stopped" })
      : send("POST", roomPath(this.#room.id, "/recordings"), { format: "webm", source: "program" }));
  }

  async #pin() {
    const pin = await this.#ask.ask({
      title: t("The room's PIN"), words: t("4 to 16 digits, which those must know who join. Empty: none."), label: t("PIN"), yes: t("Set"),
      maxLength: 16, optional: true, pattern: "[0-9]{4,16}", inputMode: "numeric",
    });
    if (pin !== null) await this.#set(this.#ui["room-pin"], { pin }, pin ? t("The PIN is set.") : t("There is no PIN."));
  }

  async #rename() {
    const name = await this.#ask.ask({ title: t("Rename the room"), words: t("Its address stays."), label: t("Name"), value: this.#room.name, yes: t("Rename"), optional: true });
    if (name !== null) await this.#set(this.#ui["room-rename"], { name }, t("Renamed."));
  }

  async #end() {
    const room = this.#room;
    const yes = await this.#ask.ask({
      title: t("End {room} for all?", { room: nameOf(room) }), yes: t("End for all"), danger: true,
      words: t("{n} person is disconnected.|{n} people are disconnected.", { n: room.status.participants }),
    });
    if (yes !== null) await this.#act(this.#ui["room-end"], t("{room} has ended.", { room: nameOf(room) }), () => send("DELETE", roomPath(room.id)));
  }
}
