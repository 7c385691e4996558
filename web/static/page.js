// The call: a lobby to choose devices in, and a room.

import * as devices from "./devices.js";
import { Arrangement } from "./arrange.js";
import { Chat } from "./chat.js";
import { Roster } from "./events.js";
import { language, languageSwitch, onLanguage, t, translate } from "./i18n.js";
import { Media } from "./media.js";
import { Overlay } from "./overlay.js";
import { reason, refusal, wordsOf } from "./problems.js";
import { pathOf, randomRoom, roomOf } from "./room.js";
import { Session } from "./session.js";
import { hasToken, send, urlFor, withToken } from "./token.js";

const ui = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));

const media = new Media(ui, ui.mix);
const { tracks } = media;
let session = null;
let room = "";
let recording = "";
let hushed = false; // the server keeps what is said here from the others
let mending = false;
let roster = new Roster();
const chat = new Chat(ui, write, letIn);
const overlay = new Overlay(ui.self, ui.stage);
const arrangement = new Arrangement(ui, say, () => toggled("hide-self", arrangement.hidden));

// A lost connection is made anew after these pauses, in milliseconds: for two
// minutes, in which a lift arrives and a server has restarted.
const retryPauses = [500, 2000, 4000, 8000, 15000, 15000, 15000, 15000, 15000, 15000];

// ---- words ----

// What the page says by itself, to be said again in another language.
const said = new Map();

function put(element, key, params) {
  said.set(element, [key, params]);
  const words = key ? t(key, params) : "";
  if (element.textContent !== words) element.textContent = words; // what has not changed is not read out again
}

/** Shows a message, already in the reader's language, or elements. */
function say(...content) {
  ui["message-text"].replaceChildren(...content);
  ui.message.hidden = !ui["message-text"].textContent;
}

// The buttons that are on or off, with their words for both.
const toggles = {
  "mute": ["Unmute", "Mute"],
  "camera-off": ["Start camera", "Stop camera"],
  "screen": ["Stop sharing", "Share screen"],
  "hide-self": ["Show me", "Hide me"],
  "record": ["Stop recording", "Record"],
};

function toggled(button, pressed) {
  ui[button].setAttribute("aria-pressed", String(pressed));
  put(ui[button], toggles[button][pressed ? 0 : 1]);
}

function showTracks() {
  toggled("mute", hushed || !tracks.audio?.enabled);
  toggled("camera-off", !tracks.video?.enabled);
  overlay.show(tracks.video);
}

// How far the server has lowered what it sends, by the event's name.
const loads = {
  "normal": "",
  "fast-encoding": "The server is busy: pictures are less sharp",
  "base-layer": "The server is busy: pictures move less smoothly",
  "low-top-tier": "The server is busy: pictures are smaller",
  "half-tiles": "The server is busy: who has not spoken lately is not seen",
  "few-tiles": "The server is busy: who has not spoken lately is not seen",
};

const storage = {
  low: "There is little space left for recordings.",
  full: "There is no space left for recordings.",
};

// ---- lobby ----

function enterLobby() {
  ui["to-test"].href = withToken(hasToken() ? `/test?${new URLSearchParams({ room: roomOf(location.pathname) })}` : "/test");
  ui.room.value = roomOf(location.pathname) || randomRoom();
  ui.name.value = localStorage.getItem("name") ?? "";
  for (const button of Object.keys(toggles)) toggled(button, false);
  ui.screen.hidden = !navigator.mediaDevices?.getDisplayMedia; // phones have none
  media.open();
}

media.addEventListener("track", ({ detail: { kind, track } }) => {
  if (kind === "video") {
    ui.preview.srcObject = track && new MediaStream([track]);
    ui["no-preview"].hidden = Boolean(track);
  }
  (kind === "audio" ? session?.setAudio(track) : session?.setCamera(track))?.catch((error) => say(error.message));
  if (session) showTracks();
});
media.addEventListener("gone", ({ detail: { words } }) => session && say(words));

async function join(event) {
  event.preventDefault();
  say("");
  ui.join.disabled = true;
  room = ui.room.value.trim();
  localStorage.setItem("name", ui.name.value.trim());
  chat.begin();
  try {
    await connect();
  } catch (error) {
    room = "";
    session = null;
    say(error.code === "pin" && !ui.pin.value ? t("This room has a PIN: enter it, then join.") : reason(error));
    if (error.code === "pin") askPin();
    return;
  } finally {
    ui.join.disabled = false;
  }
  enter();
  ui.lobby.hidden = true;
  ui.call.hidden = false;
  ui["devices-in-call"].append(ui.devices);
  media.meter(false);
  showTracks();
}

/** The page is this room's. */
function enter() {
  history.replaceState(null, "", pathOf(room)); // without a token, which nobody is to see over one's shoulder
  ui["room-name"].textContent = room;
  document.title = `${room} · mixdown`;
}

function askPin() {
  ui["pin-label"].hidden = false;
  ui.pin.required = true;
  ui.pin.select();
}

// ---- call ----

/** Joins, in the place of a session whose connection was lost, if there is one. */
async function connect(before = null) {
  session = new Session();
  const mine = session;
  const about = (type, f) => mine.addEventListener(type, ({ detail }) => mine === session && f(detail));
  about("state", (state) => {
    put(ui["link-state"], { connected: "", disconnected: "Connection is poor…" }[state] ?? "Connecting…");
    if (state === "failed") reconnect();
  });
  about("echo", (echo) => {
    say(echo ? t("The others hear themselves through your loudspeaker. Use headphones, or turn it down.") : "");
  });
  const known = roster = new Roster();
  about("over", (why) => ended(why.code, why.message));
  about("event", (event) => happened(event, known));
  await mine.join(room, { name: ui.name.value.trim(), pin: ui.pin.value }, tracks, before);
  before?.drop();
  if (before && tracks.screen) await mine.setScreen(tracks.screen);
  chat.become(mine.id);
  await arrangement.become(room, mine.participant);
  ui.mix.srcObject = mine.stream;
  listen();
}

/** Plays the room. Some browsers want to be asked by a click first. */
async function listen() {
  try {
    await ui.mix.play();
    ui.hear.hidden = true;
  } catch (error) {
    ui.hear.hidden = error.name !== "NotAllowedError";
  }
}

/** Says what the server has lowered for want of capacity. */
function showLoad({ name }) {
  put(ui.load, loads[name] ?? "");
}

/** Takes one of the room's events in. */
function happened(event, roster) {
  roster.take(event);
  ui.call.dataset.events = session.source; // for the curious and for tests
  switch (event.type) {
    case "chat": return chat.take(event, roster);
    case "error": return say(wordsOf(event.data));
    case "overload": return showLoad(event.data);
    case "uplink": return;
    case "storage": return event.data.level === "ok" || say(t(storage[event.data.level]));
    case "participant.left":
      if (event.data.id === session.id) return ended(event.data.reason, wordsOf({ code: event.data.reason }));
      break;
    case "layout.changed":
      overlay.arrange(event.data, session.id);
      return arrangement.take(event.data);
  }
  if (event.type === "snapshot" && event.data.room.id !== room) moved(event.data.room.id);
  if (event.type === "snapshot") showLoad(event.data.overload);
  if (event.type.startsWith("recording.") || event.type === "snapshot") showRecording(roster.recording);
  const { name, admitted, id } = event.data;
  if (event.type === "participant.joined" && admitted === false && chat.mayLetIn && id !== session.id) {
    say(t("{name} is waiting to be let in.", { name: name || t("Somebody") }));
  }
  showPeople();
}

/** The host has taken this client to another room, by the same connection. */
function moved(to) {
  room = to;
  session.room = to;
  arrangement.become(room, session.participant);
  enter();
  say(t("You are in another room now: {room}", { room }));
}

function showPeople() {
  const n = roster.people.size;
  const own = roster.people.get(session.id);
  const waits = own?.admitted === false;
  ui.waiting.hidden = !waits;
  put(ui.people, waits ? "" : n <= 1 ? "Only you are here" : "{n} person|{n} people", { n });
  hushed = Boolean(own?.send.audio.muted);
  const silence = roster.selfUnmute ? "You are muted: press Unmute to be heard" : "You are muted by a host";
  put(ui.muted, own?.role === "viewer" ? "You watch and listen: nobody sees or hears you" : hushed ? silence : "");
  toggled("mute", hushed || !tracks.audio?.enabled);
  ui.self.classList.toggle("speaking", roster.speaks(session.id));
  chat.list(roster);
}

/** Sends a text; says whether it could be. */
async function write(text, to) {
  try {
    await session.write(text, to);
    return true;
  } catch (error) {
    say(reason(error));
    return false;
  }
}

async function letIn(participant) {
  try {
    const response = await send(`/v1/rooms/${encodeURIComponent(room)}/participants/${participant}`, {
      method: "PATCH", headers: { "Content-Type": "application/merge-patch+json" }, body: JSON.stringify({ state: "active" }),
    });
    if (!response.ok) throw await refusal(response);
  } catch (error) {
    if (error.status === 403) chat.mayLetIn = false;
    say(reason(error));
  }
}

function showRecording(id) {
  recording = id;
  put(ui.rec, id ? "Recording" : ""); // everybody is told that they are recorded
  toggled("record", Boolean(id));
}

/** The server has ended the session: what was an accident is mended. */
function ended(code, words) {
  if (["drained", "vanished", "never-connected"].includes(code)) reconnect();
  else if (!["left", "moved"].includes(code)) end(words);
}

async function reconnect() {
  if (mending) return;
  mending = true;
  try {
    await mend(session);
  } finally {
    mending = false;
  }
}

async function mend(before) {
  let fault = null;
  for (const pause of retryPauses) {
    put(ui["link-state"], "Connection lost. Connecting again…");
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (!room) return before.leave();
    try {
      await connect(before);
      return;
    } catch (error) {
      fault = error;
      if (error.status && error.status < 500 && error.status !== 429) break;
    }
  }
  before.leave();
  end(fault.status ? fault.message : t("The connection to the room was lost. Check the network, then join again."));
}

/** Goes back to the lobby, and says why. */
function end(words) {
  leave();
  say(words);
}

function leave() {
  session?.leave();
  session = null;
  room = "";
  arrangement.end();
  overlay.arrange(null, "");
  tracks.screen?.stop();
  tracks.screen = null;
  toggled("screen", false);
  showRecording("");
  put(ui.load, "");
  put(ui.muted, "");
  hushed = false;
  put(ui["link-state"], "");
  ui.mix.srcObject = null;
  ui["settings-dialog"].close();
  ui.call.hidden = true;
  ui.lobby.hidden = false;
  ui["pin-label"].before(ui.devices);
  document.title = "mixdown";
  media.meter();
}

async function toggleTrack(kind) {
  say("");
  if (kind === "audio" && hushed && !await unmute()) return;
  if (tracks[kind]) {
    tracks[kind].enabled = !tracks[kind].enabled;
    return showTracks();
  }
  const select = kind === "audio" ? ui.microphone : ui.camera;
  if (select.value === "none") select.selectedIndex = 0;
  await media.open([kind]);
  if (!tracks[kind]) say(ui["device-note"].textContent);
}

/** Takes back that the server mutes this client, where it may; then what it sends is on. */
async function unmute() {
  try {
    await session.unmute();
    if (tracks.audio) tracks.audio.enabled = false; // to be toggled on
    return true;
  } catch (error) {
    say(reason(error));
    return false;
  }
}

async function toggleScreen() {
  if (tracks.screen) return endScreen();
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: false });
    tracks.screen = stream.getVideoTracks()[0];
  } catch (error) {
    // Who has changed his mind knows that.
    if (error.name !== "NotAllowedError" || /system/i.test(error.message)) say(devices.explain(error, "screen"));
    return;
  }
  tracks.screen.contentHint = "detail";
  tracks.screen.onended = endScreen;
  await session.setScreen(tracks.screen);
  toggled("screen", true);
}

async function endScreen() {
  tracks.screen?.stop();
  tracks.screen = null;
  await session?.setScreen(null);
  toggled("screen", false);
}

async function toggleRecording() {
  ui.record.disabled = true;
  const stopped = recording; // events change that meanwhile
  try {
    const response = stopped
      ? await send(`/v1/recordings/${encodeURIComponent(stopped)}`, {
        method: "PATCH", headers: { "Content-Type": "application/merge-patch+json" }, body: JSON.stringify({ state: "stopped" }),
      })
      : await send(`/v1/rooms/${encodeURIComponent(room)}/recordings`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ format: "webm", source: "program" }),
      });
    if (!response.ok) throw await refusal(response);
    const { media } = await response.json();
    if (stopped && media) await offerDownload(media);
  } catch (error) {
    if (error.status === 401 || error.status === 403) ui.record.hidden = true; // who may not is not offered it again
    say(t("Recording: {reason}", { reason: reason(error) }));
  } finally {
    ui.record.disabled = false;
  }
}

async function offerDownload(media) {
  const link = document.createElement("a");
  try {
    link.href = await urlFor(room, "recordings", media);
  } catch (error) {
    return say(t("Saved."), " ", reason(error));
  }
  link.download = "";
  link.textContent = t("Download the recording");
  say(t("Saved."), " ", link);
}

/** The link by which others come in, and until when; a host's lets them in by itself. */
async function invitation() {
  if (!hasToken()) return { link: location.origin + pathOf(room) };
  const response = await send(`/v1/rooms/${encodeURIComponent(room)}/tokens`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: "{}",
  });
  if (!response.ok) throw await refusal(response);
  const { link, expiresAt } = await response.json();
  return { link: location.origin + link, time: new Date(expiresAt).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" }) };
}

async function share() {
  try {
    const { link, time } = await invitation();
    try {
      await navigator.clipboard.writeText(link);
      say(time ? t("Copied: a link that lets people in until {time}.", { time }) : t("Copied: {link}", { link }));
    } catch {
      say(t("The link to this room: {link}", { link }));
    }
  } catch (error) {
    say(error.code === "forbidden" ? t("Only a host can invite people.") : reason(error));
  }
}

// ---- what is pressed ----

ui["join-form"].addEventListener("submit", join);
ui.mute.addEventListener("click", () => toggleTrack("audio"));
ui["camera-off"].addEventListener("click", () => toggleTrack("video"));
ui.screen.addEventListener("click", toggleScreen);
ui.mirror.addEventListener("click", () => {
  overlay.wanted = !overlay.wanted;
  ui.mirror.setAttribute("aria-pressed", String(overlay.wanted));
});
ui.record.addEventListener("click", toggleRecording);
ui.share.addEventListener("click", share);
ui.leave.addEventListener("click", () => { leave(); say(""); });
ui.hear.addEventListener("click", listen);
ui.more.addEventListener("click", () => {
  ui.more.setAttribute("aria-expanded", String(ui.extras.classList.toggle("open")));
});
ui.settings.addEventListener("click", () => {
  ui["settings-dialog"].showModal();
  media.meter();
});
ui["settings-done"].addEventListener("click", () => ui["settings-dialog"].close());
ui["settings-dialog"].addEventListener("close", () => session && media.meter(false));
ui["message-close"].addEventListener("click", () => say(""));
addEventListener("pagehide", () => session?.leave());

for (const select of [ui.language, ui["language-in-call"]]) languageSwitch(select);
onLanguage(() => {
  ui.language.value = ui["language-in-call"].value = language;
  for (const [element, [key, params]] of said) put(element, key, params);
  chat.translate();
  media.fill();
});
translate();
enterLobby();
