// How the picture is arranged: the room's layout, which is everybody's, and hiding
// oneself, which takes a picture of one's own.

import { reason, refusal } from "./problems.js";
import { t } from "./i18n.js";
import { send } from "./token.js";

// How often the room is asked how it is arranged while this client watches a
// picture of its own, since it is not told of the other one.
const lookEvery = 2000;

export class Arrangement {
  #ui; #say; #changed; #room = ""; #participant = ""; #timer = 0;
  // While this client is hidden from itself: how the room was when it was last asked.
  #hiddenIn = null;

  /** ui are the elements by id; say(text) tells faults, changed() that somebody is hidden, or not. */
  constructor(ui, say, changed) {
    this.#ui = ui;
    this.#say = say;
    this.#changed = changed;
    ui.layout.addEventListener("change", () => this.#pick());
    ui["hide-self"].addEventListener("click", () => this.#toggle());
  }

  /** Whether this client is hidden from itself. */
  get hidden() { return Boolean(this.#hiddenIn); }

  /** This client is that participant now, an URL, in that room; it stays hidden if it was. */
  async become(room, participant) {
    this.#room = `/v1/rooms/${encodeURIComponent(room)}`;
    this.#participant = participant;
    if (this.#hiddenIn) await this.#hide(this.#hiddenIn);
  }

  end() {
    clearTimeout(this.#timer);
    this.#room = "";
    this.#hiddenIn = null;
    this.#changed();
  }

  /** The picture that this client watches is arranged like that now. */
  take(layout) { if (!this.#hiddenIn) this.#follow(layout); }

  /** Sends a change of a layout; says whether it was taken. Who may not is not offered the control again. */
  async #change(control, url, method, body) {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    let fault;
    try {
      const response = await send(url, { method, headers: { "Content-Type": type }, body: body && JSON.stringify(body) });
      if (response.ok || (method === "DELETE" && response.status === 404)) return true;
      fault = await refusal(response);
    } catch (error) {
      fault = error;
    }
    if (fault.status === 401 || fault.status === 403) control.hidden = true;
    this.#say(t("Layout: {reason}", { reason: reason(fault) }));
    return false;
  }

  async #pick() {
    await this.#change(this.#ui.layout, `${this.#room}/layout`, "PATCH", { mode: this.#ui.layout.value });
    if (this.#hiddenIn) this.#look();
  }

  async #hide(layout) {
    const done = await this.#change(this.#ui["hide-self"], `${this.#participant}/layout`, "PUT", { ...layout, hideSelf: true });
    if (done && this.#room) this.#hiddenIn = layout;
    this.#changed();
  }

  async #toggle() {
    if (!this.#hiddenIn) {
      await this.#hide({ mode: this.#ui.layout.value });
      return this.#look();
    }
    if (await this.#change(this.#ui["hide-self"], `${this.#participant}/layout`, "DELETE")) this.#hiddenIn = null;
    this.#changed();
  }

  /** Shows how the room is arranged, and arranges a picture of one's own alike. */
  async #follow(layout) {
    if (document.activeElement !== this.#ui.layout) this.#ui.layout.value = layout.mode;
    if (this.#hiddenIn && JSON.stringify(this.#hiddenIn) !== JSON.stringify(layout)) await this.#hide(layout);
  }

  async #look() {
    clearTimeout(this.#timer);
    if (!this.#room || !this.#hiddenIn) return;
    try {
      const response = await send(this.#room);
      if (response.ok) await this.#follow((await response.json()).layout);
    } catch { /* the connection's own state says it better */ }
    clearTimeout(this.#timer);
    if (this.#room && this.#hiddenIn) this.#timer = setTimeout(() => this.#look(), lookEvery);
  }
}
