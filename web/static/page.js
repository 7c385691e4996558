import * as devices from "./devices.js";
import { Chat } from "./chat.js";
import { Roster, wordsOf } from "./events.js";
import { Overlay } from "./overlay.js";
import { Session } from "./session.js";

const $ = (id) => document.getElementById(id);
const ui = Object.fromEntries(["lobby", "call", "join-form", "preview", "no-preview", "mic-level", "room", "name",
  "camera", "microphone", "device-note", "join", "room-name", "people", "rec", "link-state", "mix", "mute",
  "camera-off", "screen", "layout", "hide-self", "record", "share", "leave", "message",
  "stage", "self", "mirror", "chat", "side", "roster", "chat-log", "chat-form", "chat-to", "chat-text"].map((id) => [id, $(id)]));

const tracks = { audio: null, video: null };
let level = { stop() {} };
let session = null;
let room = "";
let recording = "";
let poll = 0;
let roster = new Roster();
const chat = new Chat(ui, write);
const overlay = new Overlay(ui.self, ui.stage);
// While this client is hidden from itself it has a picture of its own, arranged
// like the room's; this is how the room's was when it was last asked for.
let hiddenIn = null;

// How often the page asks how the room is arranged while it shows a picture of
// its own.
const pollEvery = 2000;
// A lost connection is made anew after these pauses, in milliseconds.
const retryPauses = [500, 2000, 4000, 8000, 15000];

function say(text) {
  ui.message.textContent = text;
  ui.message.hidden = !text;
}

function randomRoom() {
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  return Array.from(crypto.getRandomValues(new Uint8Array(10)), (b) => letters[b % letters.length]).join("");
}

// ---- lobby ----

async function openDevice(kind) {
  const select = kind === "video" ? ui.camera : ui.microphone;
  tracks[kind]?.stop();
  const { track, note } = await devices.open(kind, select.value);
  tracks[kind] = track;
  if (kind === "video") {
    ui.preview.srcObject = track && new MediaStream([track]);
    ui["no-preview"].hidden = Boolean(track);
  } else {
    level.stop();
    level = devices.watchLevel(track, ui["mic-level"]);
  }
  return note;
}

async function openDevices(kinds) {
  const notes = [];
  for (const kind of kinds) notes.push(await openDevice(kind));
  ui["device-note"].textContent = notes.filter(Boolean).join(" ");
}

async function fillDevices() {
  await devices.fill(ui.camera, "video", tracks.video?.getSettings().deviceId ?? ui.camera.value);
  await devices.fill(ui.microphone, "audio", tracks.audio?.getSettings().deviceId ?? ui.microphone.value);
}

async function enterLobby() {
  const named = /^\/r\/([^/]+)$/.exec(location.pathname);
  ui.room.value = named ? decodeURIComponent(named[1]) : randomRoom();
  ui.name.value = localStorage.getItem("name") ?? "";
  await openDevices(["video", "audio"]);
  // Browsers tell the devices' names only after permission was given.
  await fillDevices();
}

// ---- call ----

/** Joins, in the place of a session whose connection was lost, if there is one. */
async function connect(before = null) {
  session = new Session();
  const mine = session;
  mine.addEventListener("state", ({ detail }) => {
    if (mine !== session) return;
    ui["link-state"].textContent = detail === "connected" ? "" : detail === "disconnected" ? "Connection is poor…" : "Connecting…";
    if (detail === "failed") reconnect();
  });
  mine.addEventListener("echo", ({ detail }) => {
    if (mine !== session) return;
    say(detail ? "The others hear themselves through your loudspeaker. Use headphones, or turn it down." : "");
  });
  const known = roster = new Roster();
  mine.addEventListener("event", ({ detail }) => mine === session && happened(detail, known));
  await mine.join(room, ui.name.value.trim(), tracks, before);
  before?.drop();
  if (before && tracks.screen) await mine.setScreen(tracks.screen);
  chat.become(mine.id);
  if (hiddenIn) await hideSelf(hiddenIn);
  ui.mix.srcObject = mine.stream;
  await ui.mix.play().catch(() => say("Press play: the browser starts no sound by itself."));
}

/** Takes one of the room's events in. */
function happened(event, roster) {
  roster.take(event);
  ui.call.dataset.events = session.source; // for the curious and for tests
  switch (event.type) {
    case "chat": return chat.take(event, roster);
    case "error": return say(wordsOf(event.data));
    case "overload": case "uplink": return;
    case "layout.changed":
      overlay.arrange(event.data, session.id);
      if (!hiddenIn) follow(event.data);
      return;
  }
  if (event.type.startsWith("recording.") || event.type === "snapshot") showRecording(roster.recording);
  const n = roster.people.size;
  ui.people.textContent = n <= 1 ? "Only you are here" : `${n} people`;
  ui.self.classList.toggle("speaking", roster.speaks(session.id));
  chat.list(roster);
}

/** Sends a text; says whether it could be. */
async function write(text, to) {
  try {
    await session.write(text, to);
    return true;
  } catch (error) {
    say(error.message);
    return false;
  }
}

function showRecording(id) {
  recording = id;
  ui.rec.hidden = !id; // everybody sees that they are recorded
  press(ui.record, Boolean(id), "Stop recording", "Record");
}

async function reconnect() {
  const before = session;
  let gone = "";
  for (const pause of retryPauses) {
    ui["link-state"].textContent = "Connection lost. Connecting again…";
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (!room) return before.leave();
    try {
      await connect(before);
      return;
    } catch (error) {
      if (error.status === 410) gone = error.message;
      if (error.status && error.status < 500 && error.status !== 429) break;
    }
  }
  before.leave();
  leave();
  say(gone || "The connection to the room was lost. Check the network, then join again.");
}

const refusals = {
  403: "You may not enter this room",
  404: "There is no such room",
  409: "The room is full",
  422: "This browser and the server have no codec in common",
  429: "Too many tries; wait a moment",
  503: "The server has no capacity left at the moment",
};

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
    const reason = error.status ? refusals[error.status] ?? "The server refused" : "The server cannot be reached";
    say(`${reason}: ${error.message}`);
    room = "";
    return;
  } finally {
    ui.join.disabled = false;
  }
  level.stop();
  history.replaceState(null, "", `/r/${encodeURIComponent(room)}`);
  ui["room-name"].textContent = room;
  document.title = `${room} · mixdown`;
  ui.lobby.hidden = true;
  ui.call.hidden = false;
  press(ui.mute, tracks.audio ? !tracks.audio.enabled : true, "Unmute", "Mute");
  press(ui["camera-off"], tracks.video ? !tracks.video.enabled : true, "Start camera", "Stop camera");
  overlay.show(tracks.video);
}

function leave() {
  clearTimeout(poll);
  session?.leave();
  session = null;
  room = "";
  hiddenIn = null;
  press(ui["hide-self"], false, "Show me", "Hide me");
  overlay.arrange(null, "");
  tracks.screen?.stop();
  ui.mix.srcObject = null;
  ui.call.hidden = true;
  ui.lobby.hidden = false;
  document.title = "mixdown";
  level = devices.watchLevel(tracks.audio, ui["mic-level"]);
}

/** Sets a toggle button. */
function press(button, pressed, wordOn, wordOff) {
  button.setAttribute("aria-pressed", String(pressed));
  button.textContent = pressed ? wordOn : wordOff;
}

async function toggleTrack(kind, button, wordOn, wordOff) {
  if (!tracks[kind]) {
    const note = await openDevice(kind);
    if (!tracks[kind]) return say(note);
    await (kind === "audio" ? session.setAudio(tracks[kind]) : session.setCamera(tracks[kind]));
  } else {
    tracks[kind].enabled = !tracks[kind].enabled;
  }
  say("");
  press(button, !tracks[kind].enabled, wordOn, wordOff);
  overlay.show(tracks.video);
}

async function toggleScreen() {
  if (tracks.screen) return endScreen();
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: false });
    tracks.screen = stream.getVideoTracks()[0];
  } catch (error) {
    if (error.name !== "NotAllowedError") say(devices.explain(error, "screen"));
    return;
  }
  tracks.screen.contentHint = "detail";
  tracks.screen.onended = endScreen;
  await session.setScreen(tracks.screen);
  press(ui.screen, true, "Stop sharing", "Share screen");
}

async function endScreen() {
  tracks.screen?.stop();
  tracks.screen = null;
  await session?.setScreen(null);
  press(ui.screen, false, "Stop sharing", "Share screen");
}

/** Sends a change of a layout; says whether it was taken. Who may not is asked no more. */
async function changeLayout(url, method, body) {
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  const response = await fetch(url, { method, headers: { "Content-Type": type }, body: body && JSON.stringify(body) }).catch(() => null);
  if (response?.ok || (method === "DELETE" && response?.status === 404)) return true;
  if (response?.status === 401 || response?.status === 403) ui.layout.hidden = ui["hide-self"].hidden = true;
  const { detail, title } = await response?.json().catch(() => ({})) ?? {};
  say(`Layout: ${detail ?? title ?? "the server cannot be reached"}`);
  return false;
}

async function pickLayout() {
  await changeLayout(`/v1/rooms/${encodeURIComponent(room)}/layout`, "PATCH", { mode: ui.layout.value });
  if (hiddenIn) look();
}

async function hideSelf(layout) {
  const done = await changeLayout(`${session.participant}/layout`, "PUT", { ...layout, hideSelf: true });
  if (done) hiddenIn = layout;
  press(ui["hide-self"], Boolean(hiddenIn), "Show me", "Hide me");
}

async function toggleSelf() {
  if (!hiddenIn) {
    await hideSelf({ mode: ui.layout.value });
    return look();
  }
  if (await changeLayout(`${session.participant}/layout`, "DELETE")) hiddenIn = null;
  press(ui["hide-self"], Boolean(hiddenIn), "Show me", "Hide me");
}

/** Shows how the room is arranged, and arranges a picture of one's own alike. */
async function follow(layout) {
  if (document.activeElement !== ui.layout) ui.layout.value = layout.mode;
  if (hiddenIn && JSON.stringify(hiddenIn) !== JSON.stringify(layout)) await hideSelf(layout);
}

/**
 * Keeps a picture of one's own arranged like the room's, which is not told of
 * while that other one is watched.
 */
async function look() {
  clearTimeout(poll);
  if (!room || !hiddenIn) return;
  try {
    const response = await fetch(`/v1/rooms/${encodeURIComponent(room)}`);
    if (response.ok) await follow((await response.json()).layout);
  } catch { /* the connection's own state says it better */ }
  clearTimeout(poll);
  if (room && hiddenIn) poll = setTimeout(look, pollEvery);
}

async function toggleRecording() {
  ui.record.disabled = true;
  const response = recording
    ? await fetch(`/v1/recordings/${encodeURIComponent(recording)}`, {
      method: "PATCH", headers: { "Content-Type": "application/merge-patch+json" }, body: JSON.stringify({ state: "stopped" }),
    })
    : await fetch(`/v1/rooms/${encodeURIComponent(room)}/recordings`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ format: "webm", source: "program" }),
    });
  ui.record.disabled = false;
  const body = await response.json().catch(() => ({}));
  if (!response.ok) say(`Recording: ${body.detail ?? response.statusText}`);
  else if (recording && body.media) offerDownload(body.media);
}

function offerDownload(media) {
  const link = document.createElement("a");
  link.href = media;
  link.download = "";
  link.textContent = "Download the recording";
  ui.message.replaceChildren("Saved. ", link);
  ui.message.hidden = false;
}

async function share() {
  const link = `${location.origin}/r/${encodeURIComponent(room)}`;
  try {
    await navigator.clipboard.writeText(link);
    say(`Copied: ${link}`);
  } catch {
    say(`The link to this room: ${link}`);
  }
  setTimeout(() => say(""), 4000);
}

ui["join-form"].addEventListener("submit", join);
ui.camera.addEventListener("change", () => openDevices(["video"]));
ui.microphone.addEventListener("change", () => openDevices(["audio"]));
ui.mute.addEventListener("click", () => toggleTrack("audio", ui.mute, "Unmute", "Mute"));
ui["camera-off"].addEventListener("click", () => toggleTrack("video", ui["camera-off"], "Start camera", "Stop camera"));
ui.screen.addEventListener("click", toggleScreen);
ui.layout.addEventListener("change", pickLayout);
ui["hide-self"].addEventListener("click", toggleSelf);
ui.mirror.addEventListener("click", () => {
  overlay.wanted = !overlay.wanted;
  ui.mirror.setAttribute("aria-pressed", String(overlay.wanted));
});
ui.record.addEventListener("click", toggleRecording);
ui.share.addEventListener("click", share);
ui.leave.addEventListener("click", leave);
navigator.mediaDevices?.addEventListener("devicechange", fillDevices);
addEventListener("pagehide", () => session?.leave());

enterLobby();
