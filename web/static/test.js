// The test page: tells what works between this browser and the server, one thing
// after the other, and what to do about what does not.

import { languageSwitch, onLanguage, t, translate } from "./i18n.js";
import { Media } from "./media.js";
import { Loop, reach } from "./probe.js";
import { reason, refusal } from "./problems.js";
import { pathOf, randomRoom } from "./room.js";
import { send, withToken } from "./token.js";

const ui = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const media = new Media(ui, ui.echo);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Somebody with a token has it for one room. Others test in a room of their own.
const named = new URLSearchParams(location.search).get("room");
const room = named || `test-${randomRoom()}`;

let context = null; // of sound, once a click has allowed it
let loop = null;
let iceServers = [];

// ---- results ----

const results = new Map(); // row -> {title, state, key, params}
const states = {
  running: "testing…", works: "works", poor: "partly", fails: "fails", none: "not there",
};
let summary = "";

/** Shows what came of a test. */
function tell(row, title, state, key = "", params = {}) {
  results.set(row, { title, state, key, params });
  draw();
}

function draw() {
  for (const [row, { title, state, key, params }] of results) {
    let item = document.getElementById(`result-${row}`);
    if (!item) {
      item = document.createElement("li");
      item.id = `result-${row}`;
      item.append(document.createElement("b"), document.createElement("span"), document.createElement("span"));
      item.children[1].className = "state";
      ui.results.append(item);
    }
    item.dataset.state = state;
    [title, states[state]].forEach((words, n) => { item.children[n].textContent = t(words); });
    item.children[2].textContent = key && t(key, params);
  }
  ui.summary.textContent = summary && t(summary);
  ui["hear-self"].textContent = t(ui["hear-self"].getAttribute("aria-pressed") === "true" ? "Stop hearing yourself" : "Hear yourself");
}

const works = (key, params) => ["works", key, params];
const poor = (key, params) => ["poor", key, params];
const fails = (key, params) => ["fails", key, params];
const none = (key, params) => ["none", key, params];

// ---- the tests ----

async function camera() {
  const { video } = media.tracks;
  if (!video) return ui.camera.value === "none" ? none("No camera was chosen.") : fails("{words}", { words: ui["device-note"].textContent });
  for (const end = performance.now() + 5000; !(ui.preview.videoWidth && ui.preview.currentTime > 0);) {
    if (performance.now() > end) return fails("The camera is open, but sends no pictures. Choose another one, or unplug it and plug it in again.");
    await pause(50);
  }
  const { videoWidth: width, videoHeight: height } = ui.preview;
  const small = new OffscreenCanvas(16, 9).getContext("2d", { willReadFrequently: true });
  small.drawImage(ui.preview, 0, 0, 16, 9);
  const bright = small.getImageData(0, 0, 16, 9).data.some((value, n) => n % 4 < 3 && value > 24);
  if (!bright) return poor("The picture is black. Is the camera covered?");
  return works("{name}, {width}x{height}", { name: video.label, width, height });
}

async function microphone() {
  const { audio } = media.tracks;
  if (!audio) return ui.microphone.value === "none" ? none("No microphone was chosen.") : fails("{words}", { words: ui["device-note"].textContent });
  for (const end = performance.now() + 3000; performance.now() < end; await pause(30)) {
    if (ui["mic-level"].value > 0.3) return works("It hears something: {name}", { name: audio.label });
    if (media.tracks.audio !== audio) return microphone();
  }
  return poor("It is open, but silent. Speak, then start again, or choose another one: {name}", { name: audio.label });
}

async function server() {
  const began = performance.now();
  const response = await send("/v1/ice-servers");
  if (!response.ok) throw await refusal(response);
  ({ iceServers } = await response.json());
  return works("It answers within {ms} ms.", { ms: Math.round(performance.now() - began) });
}

function codecs() {
  const names = (kind) => [...new Set((RTCRtpSender.getCapabilities?.(kind)?.codecs ?? []).map((c) => c.mimeType.split("/")[1]))];
  const sound = names("audio").filter((name) => name.toLowerCase() === "opus");
  const pictures = names("video").filter((name) => ["VP8", "H264"].includes(name.toUpperCase()));
  const params = { sound: sound.join(", ") || "–", pictures: pictures.join(", ") || "–" };
  return (sound.length && pictures.length ? works : fails)("Sound: {sound}. Pictures: {pictures}.", params);
}

/** The ICE servers of a kind of relay, without their other addresses. */
function relays(scheme, transport) {
  return iceServers.map((s) => ({ ...s, urls: [s.urls].flat().filter((url) => {
    const [, was, how = was === "turns" ? "tcp" : "udp"] = /^(turns?):[^?]*(?:\?transport=(\w+))?/.exec(url) ?? [];
    return was === scheme && how === transport;
  }) })).filter((s) => s.urls.length > 0);
}

async function way(protocol, through = null) {
  if (through?.length === 0) return none("This server does not offer it.");
  const { offered, connected, rttMs } = await reach(room, protocol, through);
  if (!offered) return none("This server does not offer it.");
  if (connected) return works("There and back in {ms} ms.", { ms: rttMs });
  return fails("No connection: a firewall is in the way.");
}

async function echo() {
  if (named && await others() > 0) return none("There are people in the room: they would hear the test.");
  loop = new Loop(context);
  ui.echo.srcObject = loop.stream;
  if (!await loop.open(room, media.tracks.video)) return fails("No connection.");
  ui.echo.muted = true; // the beeps are for the test, not for ears
  await ui.echo.play().catch(() => {});
  const picture = media.tracks.video ? await loop.pictures() : null;
  const ms = Math.round(await loop.beeps() / 10) * 10;
  ui.echo.muted = false;
  if (Number.isNaN(ms)) return fails("No sound came back.");
  if (!media.tracks.video) return works("Sound came back after {ms} ms.", { ms });
  if (!picture) return fails("Sound came back after {ms} ms, but no picture.", { ms });
  ui["hear-self"].disabled = !media.tracks.audio;
  return works("Sound came back after {ms} ms, the picture in {codec}, {width}x{height}.", { ms, ...picture });
}

/** How many people are in the room. */
async function others() {
  const response = await send(`/v1/rooms/${encodeURIComponent(room)}/participants`);
  return response.ok ? (await response.json()).items.length : 0;
}

const tests = [
  ["camera", "Camera", camera],
  ["microphone", "Microphone", microphone],
  ["server", "Server", server],
  ["codecs", "Codecs", codecs],
  ["udp", "UDP", () => way("udp")],
  ["tcp", "TCP", () => way("tcp")],
  ["turn-udp", "TURN, UDP", () => way("udp", relays("turn", "udp"))],
  ["turn-tcp", "TURN, TCP", () => way("udp", relays("turn", "tcp"))],
  ["turn-tls", "TURN, TLS", () => way("udp", relays("turns", "tcp"))],
  ["echo", "Echo", echo],
];

async function run([row, title, test]) {
  tell(row, title, "running");
  try {
    tell(row, title, ...await test());
  } catch (error) {
    tell(row, title, "fails", "{words}", { words: reason(error) });
  }
}

/** What all of it means. */
function judge() {
  const state = (row) => results.get(row).state;
  const ways = ["udp", "tcp", "turn-udp", "turn-tcp", "turn-tls"];
  if (state("server") === "fails") return "The server cannot be used from here.";
  if (state("codecs") === "fails") return "This browser cannot make calls here. Try another one.";
  if (!ways.some((way) => state(way) === "works")) return "No way to the server's media is open. Ask who looks after your network to let UDP through.";
  if (state("udp") !== "works" && state("turn-udp") !== "works") return "You can join. Without UDP, sound and pictures may falter where the network is poor.";
  if (state("echo") === "fails") return "The server is reached, but sound or pictures do not come back.";
  if (state("camera") === "works" && state("microphone") === "works") return "All that a meeting needs works.";
  return "You can join. Look at the camera and the microphone first.";
}

async function start() {
  ui.start.disabled = ui.copy.disabled = ui["hear-self"].disabled = true;
  await end();
  context ??= new AudioContext({ sampleRate: 48000 });
  await context.resume();
  summary = "";
  results.clear();
  ui.results.replaceChildren();
  await media.open();
  for (const test of tests) await run(test);
  summary = judge();
  draw();
  ui.start.disabled = ui.copy.disabled = false;
  ui.results.dataset.done = "true"; // for tests
}

/** Ends the way there and back. */
async function end() {
  delete ui.results.dataset.done;
  ui["hear-self"].setAttribute("aria-pressed", "false");
  draw();
  await loop?.close();
  loop = null;
  ui.echo.srcObject = null;
}

media.addEventListener("track", ({ detail: { kind, track } }) => {
  if (kind === "video") {
    ui.preview.srcObject = track && new MediaStream([track]);
    loop?.show(track);
  } else if (ui["hear-self"].getAttribute("aria-pressed") === "true") {
    loop?.speak(track);
  }
});

ui.start.addEventListener("click", start);
ui.tone.addEventListener("click", async () => {
  context ??= new AudioContext({ sampleRate: 48000 });
  await context.resume();
  // By an element, since only those can be sent to a chosen loudspeaker.
  const gain = new GainNode(context, { gain: 0.2 });
  const chord = [440, 550, 660].map((frequency) => new OscillatorNode(context, { frequency }));
  const out = new MediaStreamAudioDestinationNode(context);
  for (const note of chord) note.connect(gain);
  gain.connect(out);
  gain.gain.setTargetAtTime(0, context.currentTime + 0.6, 0.15);
  const player = Object.assign(new Audio(), { srcObject: out.stream });
  if (ui.loudspeaker.value) await player.setSinkId?.(ui.loudspeaker.value).catch(() => {});
  for (const note of chord) {
    note.start();
    note.stop(context.currentTime + 1.5);
  }
  await player.play();
});
ui["hear-self"].addEventListener("click", async () => {
  const pressed = ui["hear-self"].getAttribute("aria-pressed") !== "true";
  ui["hear-self"].setAttribute("aria-pressed", String(pressed));
  draw();
  await loop?.speak(pressed ? media.tracks.audio : null);
});
ui.copy.addEventListener("click", async () => {
  const lines = [...ui.results.children].map((item) => [...item.children].map((c) => c.textContent).join(": "));
  const report = [navigator.userAgent, ...lines, ui.summary.textContent].join("\n");
  // Pages that are neither https:// nor local have no clipboard.
  await navigator.clipboard?.writeText(report);
});
addEventListener("pagehide", () => end());

ui.back.href = withToken(named ? pathOf(named) : "/");
history.replaceState(null, "", location.pathname + location.search); // without a token
languageSwitch(ui.language);
onLanguage(() => {
  ui.language.value = document.documentElement.lang;
  draw();
  media.fill();
});
translate();
draw();
media.fill();
