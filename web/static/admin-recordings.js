// The recordings in the admin page: played, downloaded, deleted.
import { get, open, roomPath, send } from "./admin-server.js";
import { list, make, put } from "./dom.js";
import { language, t } from "./i18n.js";

const pageSize = 20;

const states = {
  starting: "beginning", active: "recording now", paused: "paused", stopped: "being finished", complete: "", failed: "failed",
};

/** So many bytes as people say it. */
function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(count, 1)) / 3));
  return new Intl.NumberFormat(language, { style: "unit", unit: units[step], unitDisplay: "short", maximumFractionDigits: step ? 1 : 0 })
    .format(count / 1000 ** step);
}

/** A length in seconds, as 1:02:03. */
function length(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((p, i) => String(p).padStart(i ? 2 : 1, "0")).join(":");
}

export class Recordings {
  #ui; #act; #ask; #path = ""; #items = []; #most = pageSize; #next = "";

  /** ui, act and ask as RoomView has them. */
  constructor(ui, act, ask) {
    this.#ui = ui;
    this.#act = act;
    this.#ask = ask;
    ui["more-recordings"].addEventListener("click", () => {
      this.#most += pageSize;
      this.#act(ui["more-recordings"], "", () => this.load());
    });
  }

  /** Of one room, or with "" of all. */
  of(room) {
    this.#path = room ? roomPath(room, "/recordings") : "/v1/recordings";
  }

  /** Reads and shows the newest ones. Whoever may see none is shown none. */
  async load() {
    try {
      const page = await get(`${this.#path}?limit=${this.#most}`);
      this.#items = page.items;
      this.#next = page.nextPageToken;
    } catch (error) {
      if (![401, 403, 404].includes(error.status)) throw error;
      this.#ui.recordings.hidden = true;
      return;
    }
    this.#ui.recordings.hidden = false;
    this.show();
  }

  /** Says how much room there is for more; storage is the server's, or nothing where that is not told. */
  room(storage) {
    const line = this.#ui.storage;
    line.hidden = !storage;
    if (!storage) return;
    line.classList.toggle("strained", storage.level !== "ok");
    const size = { used: bytes(storage.bytes), most: bytes(storage.maxBytes), free: bytes(storage.free) };
    put(line, [
      storage.maxBytes ? t("{used} of {most} are used, and the disk has {free} free.", size) : t("{used} are used, and the disk has {free} free.", size),
      storage.level === "low" && t("There is little room left for recordings."),
      storage.level === "full" && t("There is no room left: nothing more is recorded."),
    ].filter(Boolean).join(" "));
  }

  /** Whether some of them grow. */
  get growing() { return this.#items.some((r) => !["complete", "failed"].includes(r.state)); }

  show() {
    const ui = this.#ui;
    ui["no-recordings"].hidden = this.#items.length > 0;
    ui["more-recordings"].hidden = !this.#next;
    list(ui["recording-list"], this.#items, (r) => r.id, (r) => this.#card(r.id), (card, r) => this.#fill(card, r));
  }

  #item(id) { return this.#items.find((r) => r.id === id); }

  #card(id) {
    const acts = make("div", { className: "acts" });
    acts.setAttribute("role", "group");
    for (const [name, f] of [["play", (b) => this.#play(id, b)], ["download", (b) => this.#download(id, b)], ["delete", (b) => this.#delete(id, b)]]) {
      const button = make("button", { type: "button", className: name === "delete" ? "danger" : "" });
      button.dataset.act = name;
      button.addEventListener("click", () => f(button));
      acts.append(button);
    }
    acts.firstElementChild.setAttribute("aria-expanded", "false");
    return make("li", {}, make("div", {}, make("b", { dir: "auto" }), " ", make("span", { className: "quiet" })), acts);
  }

  #fill(card, r) {
    const began = new Date(r.startedAt).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
    put(card.querySelector("b"), r.room);
    put(card.querySelector(".quiet"), [began, length(r.duration), bytes(r.bytes), states[r.state] && t(states[r.state]), r.error].filter(Boolean).join(" · "));
    const final = r.state === "complete" || r.state === "failed" && r.parts.length > 0;
    card.querySelector(".acts").setAttribute("aria-label", t("Recording of {room}, {began}", { room: r.room, began }));
    put(card.querySelector("[data-act=play]"), card.querySelector(".played") ? t("Close") : t("Play"));
    put(card.querySelector("[data-act=download]"), t("Download"));
    put(card.querySelector("[data-act=delete]"), t("Delete…"));
    for (const name of ["play", "download"]) card.querySelector(`[data-act=${name}]`).disabled = !final;
    card.querySelector("[data-act=delete]").disabled = !["complete", "failed"].includes(r.state);
  }

  async #play(id, button) {
    const card = button.closest("li");
    const played = card.querySelector(".played");
    button.setAttribute("aria-expanded", String(!played));
    if (played) {
      played.remove();
      return this.show();
    }
    const item = this.#item(id);
    const part = make("div", { className: "played" });
    card.append(part);
    this.show();
    await this.#act(button, "", async () => {
      // A picture that changed its size has begun another file.
      for (const { media } of item.parts) {
        const video = make("video", { controls: true, preload: "metadata", src: await open(media, item.room) });
        video.setAttribute("aria-label", t("Recording of {room}, {began}", { room: item.room, began: length(item.duration) }));
        part.append(video);
      }
      part.querySelector("video")?.focus();
    });
  }

  #download(id, button) {
    const item = this.#item(id);
    return this.#act(button, "", async () => {
      for (const { media } of item.parts) make("a", { href: await open(media, item.room), download: "" }).click();
    });
  }

  async #delete(id, button) {
    const item = this.#item(id);
    const yes = await this.#ask.ask({ title: t("Delete this recording of {room}?", { room: item.room }), words: t("Its files are gone for good."), yes: t("Delete"), danger: true });
    if (yes === null) return;
    await this.#act(button, t("Deleted."), async () => {
      await send("DELETE", `/v1/recordings/${encodeURIComponent(id)}`);
      await this.load();
    });
  }
}
