// The admin page: what runs on this server, and what can be done about it. It
// reads the state anew when an event says that something has changed, and every
// few seconds for what moves by itself.
import { all, claims, follow, get, keep, picture, roomPath } from "./admin-server.js";
import { RoomView, nameOf } from "./admin-room.js";
import { Recordings } from "./admin-recordings.js";
import { Ask, list, make, put } from "./dom.js";
import { language, languageSwitch, number, onLanguage, t, translate } from "./i18n.js";
import { reason } from "./problems.js";

const ui = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));

// How often the state is read, how long after an event, how often at most, how
// often a room's picture, and for how long it is told that something is done; in
// milliseconds.
const lookEvery = 3000, soon = 200, atMostEvery = 1000, pictureEvery = 3000, toldFor = 8000;

let only = ""; // the one room that the token is for; "" is all
let server = null, rooms = [], people = [], bans = [], selected = "";
let timer = 0, quiet = 0, lookedAt = 0, reading = null, stale = false, lost = false, following = null;

const ask = new Ask(ui.ask);
const room = new RoomView(ui, act, ask);
const recordings = new Recordings(ui, act, ask);

function say(text) {
  put(ui.message, text);
  ui.message.hidden = !text;
}

/** Says for a while that something is done. */
function tell(text) {
  clearTimeout(quiet);
  ui.status.textContent = text;
  if (text) quiet = setTimeout(() => tell(""), toldFor);
}

/** Does something that a control asks for, and says that it is done. */
async function act(control, done, f) {
  if (control.getAttribute("aria-busy") === "true") return;
  control.setAttribute("aria-busy", "true");
  say("");
  tell("");
  try {
    await f();
    tell(done);
  } catch (error) {
    failed(error);
  }
  control.removeAttribute("aria-busy");
  await look();
}

function failed(error) {
  if (error.status === 401) return signIn(t("This token does not let you in, or not any more."));
  say(error instanceof TypeError || error.status ? reason(error) : error.message);
}

// ---- who asks ----

function signIn(words = "") {
  clearTimeout(timer);
  following?.abort();
  following = null;
  keep("");
  ui["sign-in"].hidden = false;
  ui.admin.hidden = ui["sign-out"].hidden = true;
  say(words);
  ui.token.focus();
}

async function begin() {
  clearTimeout(timer);
  only = "";
  try {
    await readRooms();
  } catch (error) {
    if (error.status === 401) return claims() ? failed(error) : signIn();
    if (error.status !== 403) return later(error);
    // The token may be for one room, and not for the list of them.
    only = claims()?.video?.room ?? "";
    if (!only || only === "*") return signIn(reason(error));
  }
  select(only || new URLSearchParams(location.hash.slice(1)).get("room") || "");
  recordings.of(only);
  if (!await look()) return;
  ui["sign-in"].hidden = true;
  ui.admin.hidden = false;
  ui["sign-out"].hidden = !claims();
  say("");
  following = new AbortController();
  follow(only ? roomPath(only, "/events") : "/v1/events", happened, following.signal);
  recordings.load().catch(failed);
  lookIn(lookEvery);
}

/** Begins again in a while: the server may be starting anew. */
function later(error) {
  say(reason(error));
  timer = setTimeout(begin, lookEvery);
}

// ---- the state ----

async function readRooms() {
  rooms = only ? [await get(roomPath(only))] : await all("/v1/rooms");
}

/** Reads the state and shows it; says whether that went well. Once at a time. */
function look() {
  stale = Boolean(reading);
  return reading ??= read().finally(() => {
    reading = null;
    lookedAt = performance.now();
    lookIn(stale ? soonEnough() : lookEvery);
  });
}

/** Looks after so many milliseconds; not while signed out, nor for nobody to see. */
function lookIn(delay) {
  clearTimeout(timer);
  if (!ui.admin.hidden && !document.hidden) timer = setTimeout(look, delay);
}

// Where much happens it is not looked at more often for that.
const soonEnough = () => Math.max(soon, lookedAt + atMostEvery - performance.now());

async function read() {
  try {
    await Promise.all([
      readRooms().catch((error) => {
        if (!only || error.status !== 404) throw error;
        rooms = []; // it has not begun, or has ended
      }),
      get("/v1/nodes").then(({ items }) => { server = items[0]; }, (error) => {
        if (error.status !== 403) throw error;
        server = null;
      }),
    ]);
    const of = rooms.some((r) => r.id === selected) ? selected : "";
    const read = of ? await Promise.all(["participants", "bans"].map((what) => all(roomPath(of, `/${what}`)).catch(nothing))) : [[], []];
    if (of === selected || !of) [people, bans] = read;
    else stale = true; // another room was chosen meanwhile
  } catch (error) {
    if (ui.admin.hidden && error.status !== 401) later(error);
    else failed(error);
    lost = true;
    return false;
  }
  if (lost) say(""); // what went wrong is over
  lost = false;
  show();
  if (recordings.growing) recordings.load().catch(failed);
  return true;
}

// What somebody may not see, and what has ended meanwhile, is empty.
function nothing(error) {
  if (error.status !== 403 && error.status !== 404) throw error;
  return [];
}

function happened(event) {
  if (event.type.startsWith("recording.")) recordings.load().catch(failed);
  if (event.type === "chat") return;
  stale = true;
  if (!reading) lookIn(soonEnough());
}

// ---- what is shown ----

const levels = {
  "normal": "All is as good as it may be.",
  "fast-encoding": "Overloaded: pictures are blurrier.",
  "base-layer": "Overloaded: pictures are blurrier and half as many.",
  "low-top-tier": "Overloaded: nobody is sent the largest picture.",
  "half-tiles": "Overloaded: half of the people are shown without their pictures.",
  "few-tiles": "Overloaded: only those who speak are shown with their pictures.",
};

function show() {
  showLoad();
  recordings.room(server?.storage);
  ui["no-rooms"].hidden = rooms.length > 0;
  list(ui["room-list"], rooms, (r) => r.roomId, card, fill);
  const chosen = rooms.find((r) => r.id === selected);
  if (!chosen && !ui.room.hidden) {
    if (ui.room.contains(document.activeElement)) ui["rooms-title"].focus();
    selected = only;
  }
  ui.room.hidden = !chosen;
  if (chosen) room.show(chosen, people, bans);
  pictures();
}

function showLoad() {
  ui.node.hidden = !server;
  if (!server) return;
  const { load, admitted } = server;
  const cores = (c) => number(c, 2);
  ui["node-meter"].hidden = !load.limited;
  Object.assign(ui["node-meter"], { max: load.cores || 1, high: 0.8 * load.budget, optimum: 0, value: load.used });
  const use = load.limited
    ? t("{used} of {cores} cores are used, {left} are left for more.", { used: cores(load.used), cores: cores(load.cores), left: cores(load.left) })
    : t("{used} cores are used; there is no limit.", { used: cores(load.used) });
  put(ui["node-words"], `${use} ${server.state === "draining" ? t("The server is ending and takes nobody any more.") : t(levels[load.name] ?? load.name)}`);
  ui.node.classList.toggle("strained", load.level > 0 || server.state === "draining");
  put(ui["node-more"], [
    t("{n} room|{n} rooms", { n: server.rooms }), t("{n} person|{n} people", { n: server.participants }),
    t("{n} let in|{n} let in", { n: admitted.total }),
    admitted.refusedPrice + admitted.refusedLevel > 0 && t("{n} refused|{n} refused", { n: admitted.refusedPrice + admitted.refusedLevel }),
    t("since {time}", { time: new Date(server.startedAt).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" }) }), server.version,
  ].filter(Boolean).join(" · "));
}

function card(r) {
  const button = make("button", { type: "button" }, make("div", { className: "picture" }, make("img", { alt: "", hidden: true })),
    make("div", { className: "words" }, make("b", { dir: "auto" }), make("p", { className: "quiet" })));
  button.setAttribute("aria-controls", "room");
  button.addEventListener("click", () => select(r.id, true));
  return make("li", {}, button);
}

function fill(item, r) {
  const share = server?.load.limited ? ` (${number(100 * r.status.cores / server.load.cores)} %)` : "";
  put(item.querySelector("b"), nameOf(r));
  put(item.querySelector("p"), [
    t("{n} person|{n} people", { n: r.status.participants }), t("{cores} cores", { cores: number(r.status.cores, 2) }) + share,
    r.status.waiting && t("{n} waiting|{n} waiting", { n: r.status.waiting }),
    r.status.recording && t("recording"), r.locked && t("locked"),
  ].filter(Boolean).join(" · "));
  item.firstElementChild.setAttribute("aria-expanded", String(r.id === selected));
}

/** Chooses a room to be shown; with focus, the keyboard goes there too. */
async function select(id, focus = false) {
  selected = id;
  people = bans = [];
  history.replaceState(null, "", id ? `#${new URLSearchParams({ room: id })}` : location.pathname);
  ui["room-picture"].hidden = true;
  if (!focus) return;
  await look();
  ui["room-title"].focus();
  ui.room.scrollIntoView({ block: "start" });
}

// ---- pictures ----

const taken = new WeakMap(); // an <img> -> when its picture was last asked for

/** Brings the pictures that are in sight up to date. */
function pictures() {
  for (const [i, item] of [...ui["room-list"].children].entries()) take(item.querySelector("img"), rooms[i], 320);
  const chosen = rooms.find((r) => r.id === selected);
  if (chosen) take(ui["room-picture"], chosen, 640);
}

async function take(image, r, width) {
  if (!r.status.participants) return void (image.hidden = true);
  const { top, bottom } = image.parentElement.getBoundingClientRect();
  const now = performance.now();
  if (bottom < 0 || top > innerHeight || document.hidden || now - (taken.get(image) ?? -pictureEvery) < pictureEvery) return;
  taken.set(image, now);
  const address = await picture(roomPath(r.id, `/snapshot.jpg?width=${width}`)).catch(() => "");
  if (image === ui["room-picture"] && r.id !== selected) return URL.revokeObjectURL(address);
  const before = image.src;
  image.hidden = !address;
  if (address) image.src = address;
  else image.removeAttribute("src");
  URL.revokeObjectURL(before);
}

// ---- beginning ----

ui["sign-in-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  keep(ui.token.value.trim());
  ui.token.value = "";
  begin();
});
ui["sign-out"].addEventListener("click", () => signIn());
ui["room-close"].addEventListener("click", () => {
  const before = rooms.findIndex((r) => r.id === selected);
  select("");
  show();
  ui["room-list"].children[before]?.firstElementChild.focus();
});
document.addEventListener("visibilitychange", () => document.hidden || ui.admin.hidden || look());
languageSwitch(ui.language);
onLanguage(() => {
  if (ui.admin.hidden) return;
  show();
  recordings.show();
});
translate();
const given = new URLSearchParams(location.hash.slice(1));
if (given.has("token")) {
  keep(given.get("token"));
  given.delete("token"); // so that it gets into no history
  history.replaceState(null, "", `#${given}`);
}
begin();
