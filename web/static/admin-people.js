// Who is in a room, in the admin page: what each sends, is sent and costs, and what
// can be done about them.
import { roomPath, send } from "./admin-server.js";
import { list, make, put } from "./dom.js";
import { number, t } from "./i18n.js";

const states = { waiting: "connecting", reconnecting: "connecting again" };
const kinds = { publisher: "only sends", viewer: "only watches" };

/** What somebody is called. */
const called = (person) => person.name || person.identity || t("Nobody in particular");

/** What a card's buttons are: their name, whether in the menu, and how they look. */
const buttons = [
  { act: "admit", className: "primary" }, { act: "mute" }, { act: "pin" },
  { act: "floor", menu: true }, { act: "role", menu: true }, { act: "rename", menu: true }, { act: "group", menu: true },
  { act: "room", menu: true }, { act: "kick", menu: true, className: "danger" }, { act: "ban", menu: true, className: "danger" },
];

export class People {
  #list; #none; #act; #ask; #room = null; #people = [];

  /** ui, act and ask as RoomView has them. */
  constructor(ui, act, ask) {
    this.#list = ui["people-list"];
    this.#none = ui["no-people"];
    this.#act = act;
    this.#ask = ask;
    // A menu closes when something else is wanted.
    this.#list.addEventListener("keydown", (event) => {
      const menu = event.target.closest("details[open]");
      if (event.key !== "Escape" || !menu) return;
      menu.open = false;
      menu.firstElementChild.focus();
    });
    this.#list.addEventListener("focusout", (event) => {
      const menu = event.target.closest("details[open]");
      if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
    });
  }

  /** Shows the people of a room: who waits to be let in first, the others as they came. */
  show(room, people) {
    this.#room = room;
    this.#people = people.toSorted((a, b) => a.admitted - b.admitted || a.joinedAt.localeCompare(b.joinedAt));
    this.#none.hidden = people.length > 0;
    list(this.#list, this.#people, (p) => p.id, (p) => this.#card(p.id), (card, p) => this.#fill(card, p));
  }

  #card(id) {
    const menu = make("div");
    const acts = make("div", { className: "acts" });
    acts.setAttribute("role", "group");
    for (const { act, menu: inside, className = "" } of buttons) {
      const button = make("button", { type: "button", className });
      button.dataset.act = act;
      button.addEventListener("click", () => {
        const person = this.#people.find((p) => p.id === id);
        if (person) this[act](person, button);
      });
      (inside ? menu : acts).append(button);
    }
    acts.append(make("details", { className: "more" }, make("summary"), menu));
    return make("li", {}, make("div", {}, make("b", { dir: "auto" }), " ", make("span", { className: "quiet marks" }), make("dl", { className: "facts" })), acts);
  }

  #fill(card, p) {
    const who = called(p);
    const { floor, layout } = this.#room;
    const pinned = layout.pins.includes(p.id);
    put(card.querySelector("b"), who);
    put(card.querySelector(".marks"), [
      p.identity && p.identity !== who && p.identity, !p.admitted && t("wants to come in"), states[p.state] && p.admitted && t(states[p.state]),
      kinds[p.role] && t(kinds[p.role]), p.group && t("in {group}", { group: p.group }),
      floor === p.id && t("has the floor"), p.status.speaking && t("speaking"), p.status.echo && t("echoes"),
    ].filter(Boolean).join(", "));
    card.classList.toggle("speaking", p.status.speaking);
    card.classList.toggle("waiting", !p.admitted);
    const sends = [p.send.audio.codec && (p.send.audio.muted ? t("sound, muted") : t("sound")),
      ...(p.send.video?.sources ?? []).map((s) => s === "screen" ? t("screen") : t("camera"))].filter(Boolean);
    const facts = [
      [t("Sends"), sends.join(", ") || t("nothing")],
      [t("Is sent"), p.receive?.tier ? `${p.receive.tier} ${p.receive.codec}` : p.receive?.audio ? t("sound") : t("nothing")],
      [t("Round trip"), t("{ms} ms", { ms: number(p.status.rttMs) })],
      [t("Lost"), `${number(p.status.lossPct, 1)} %`],
      [t("Costs"), t("{cores} cores", { cores: number(p.status.cores, 3) })],
    ];
    list(card.querySelector("dl"), facts, (f) => f[0], (f) => make("div", {}, make("dt", { textContent: f[0] }), make("dd")),
      (row, f) => put(row.lastElementChild, f[1]));
    const set = (act, words, { hidden = false, disabled = false } = {}) => {
      const button = card.querySelector(`[data-act=${act}]`);
      put(button, words);
      Object.assign(button, { hidden, disabled });
    };
    const inside = p.admitted;
    const tile = inside && !p.group && p.role !== "viewer";
    set("admit", t("Let in"), { hidden: inside });
    set("mute", p.send.audio.muted ? t("Unmute") : t("Mute"), { hidden: !inside || p.role === "viewer" });
    set("pin", pinned ? t("Unpin") : t("Pin"), { hidden: !tile, disabled: !pinned && !p.send.video });
    set("floor", floor === p.id ? t("Take the floor back") : t("Give the floor"), { hidden: !tile });
    set("role", p.role === "viewer" ? t("Let speak") : t("Let only watch"), { hidden: !inside || p.role === "publisher" });
    set("rename", t("Rename…"));
    set("group", t("Put into a group…"), { hidden: !inside });
    set("room", t("Move to another room…"), { hidden: !inside });
    set("kick", t("Remove…"));
    set("ban", t("Ban…"));
    put(card.querySelector("summary"), t("More"));
    card.querySelector("summary").setAttribute("aria-label", t("More for {who}", { who }));
    card.querySelector(".acts").setAttribute("aria-label", who);
  }

  // ---- what is done: by the names that the buttons have ----

  #change(p, button, change, words) {
    const menu = button.closest("details[open]");
    if (menu) {
      menu.open = false;
      menu.firstElementChild.focus();
    }
    return this.#act(button, words, () => send("PATCH", roomPath(this.#room.id, `/participants/${p.id}`), change));
  }

  admit(p, button) {
    button.parentElement.querySelector("summary").focus(); // the button goes
    return this.#change(p, button, { state: "active" }, t("{who} was let in.", { who: called(p) }));
  }

  mute(p, button) {
    const muted = !p.send.audio.muted;
    return this.#change(p, button, { send: { audio: { muted } } },
      muted ? t("{who} is muted.", { who: called(p) }) : t("{who} can be heard again.", { who: called(p) }));
  }

  pin(p, button) {
    const { pins } = this.#room.layout;
    const wanted = pins.includes(p.id) ? pins.filter((id) => id !== p.id) : [...pins, p.id];
    return this.#act(button, t("The picture is arranged anew."), () => send("PATCH", roomPath(this.#room.id, "/layout"), { pins: wanted }));
  }

  floor(p, button) {
    const floor = this.#room.floor === p.id ? "" : p.id;
    button.closest("details").open = false;
    return this.#act(button, floor ? t("{who} has the floor.", { who: called(p) }) : t("Whoever speaks has the floor."),
      () => send("PATCH", roomPath(this.#room.id), { floor }));
  }

  role(p, button) {
    const role = p.role === "viewer" ? "participant" : "viewer";
    return this.#change(p, button, { role }, role === "viewer" ? t("{who} only watches.", { who: called(p) }) : t("{who} takes part.", { who: called(p) }));
  }

  async rename(p, button) {
    const name = await this.#ask.ask({ title: t("Rename {who}", { who: called(p) }), label: t("Name"), value: p.name, yes: t("Rename") });
    if (name !== null) await this.#change(p, button, { name }, t("Renamed."));
  }

  async group(p, button) {
    const group = await this.#ask.ask({
      title: t("Put {who} into a group", { who: called(p) }), words: t("A group hears and sees itself alone. Empty is the room itself."),
      label: t("Group"), value: p.group, yes: t("Move"), maxLength: 64, optional: true,
    });
    if (group !== null) await this.#change(p, button, { group }, t("Moved."));
  }

  async room(p, button) {
    const room = await this.#ask.ask({
      title: t("Move {who} to another room", { who: called(p) }), words: t("They go there at once, without connecting anew."),
      label: t("The room's address"), value: this.#room.id, yes: t("Move"), maxLength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*",
    });
    if (room !== null) await this.#change(p, button, { room }, t("Moved."));
  }

  async kick(p, button) {
    const who = called(p);
    const words = p.identity ? t("The connection is ended, and the tokens of {identity} let nobody in any more.", { identity: p.identity })
      : t("The connection is ended. They may come back, unless they are banned.");
    const yes = await this.#ask.ask({ title: t("Remove {who}?", { who }), words, yes: t("Remove"), danger: true });
    if (yes !== null) await this.#act(button, t("{who} was removed.", { who }), () => send("DELETE", roomPath(this.#room.id, `/participants/${p.id}`)));
  }

  async ban(p, button) {
    const who = called(p);
    const words = p.identity ? t("{identity} is removed, and cannot come back into this room.", { identity: p.identity })
      : t("They are removed, and nobody can join this room from their network address.");
    const yes = await this.#ask.ask({ title: t("Ban {who}?", { who }), words, yes: t("Ban"), danger: true });
    if (yes !== null) await this.#act(button, t("{who} is banned.", { who }), () => send("POST", roomPath(this.#room.id, "/bans"), { participant: p.id }));
  }
}
