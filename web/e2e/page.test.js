// What the page says and offers around a call: other devices in mid-call, words for
// every failure, what is told to all, and coming back by itself.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { accessible } from "./axe.js";
import { join, readTiles, root, shots, startBrowser, startServer, until } from "./harness.js";

const folder = path.join(root, "web/static");
let server, one, two;

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer();
  [one, two] = await Promise.all([startBrowser("pattern"), startBrowser("blue")]);
  for (const { page } of [one, two]) {
    await page.addInitScript(() => {
      // The channel by which events come, for the test to say something by it.
      const create = RTCPeerConnection.prototype.createDataChannel;
      RTCPeerConnection.prototype.createDataChannel = function (...how) { return window.channel = create.apply(this, how); };
    });
  }
});

after(async () => {
  await Promise.all([one?.browser.close(), two?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

const says = ({ page }, where, what) => until(`${where} says ${what}`, async () => {
  const said = await page.textContent(where);
  return { said, ok: what.test(said) };
});

/** What is sent of a kind: the track's label, and whether it is on. */
const camera = ({ page }) => page.$eval("#self video", (v) => {
  const [track] = v.srcObject?.getVideoTracks() ?? [];
  return track && { label: track.label, state: track.readyState, width: v.videoWidth };
});

const people = async (room) => (await (await fetch(`${server.url}/v1/rooms/${room}/participants`)).json()).items;

test("there are words for every refusal, device fault and overload, in every language", async () => {
  const [{ words }, { sentences }, { default: korean }] = await Promise.all(
    ["problems.js", "devices.js", "messages/ko-page.js"].map((file) => import(path.join(folder, file))));
  const codes = [...(await (await fetch(`${server.url}/docs`)).text()).matchAll(/<tr id="([a-z-]+)">/g)].map((m) => m[1]);
  assert.ok(codes.length > 30, `${codes.length} codes`);
  assert.deepEqual(codes.filter((code) => !Object.hasOwn(words, code)), [], "codes without words");
  assert.deepEqual(Object.keys(words).filter((code) => !codes.includes(code)), [], "words without a code");
  assert.deepEqual([...Object.values(words), ...sentences].filter((text) => !Object.hasOwn(korean, text)), []);
});

test("the lobby: a preview, a level, and both languages", async () => {
  await one.page.goto(`${server.url}/r/offices`);
  await until("a preview", () => one.page.$eval("#preview", (v) => v.videoWidth > 0));
  await until("a level", () => one.page.$eval("#mic-level", (m) => m.value > 0.1));
  assert.deepEqual(await one.page.$$eval("#camera option", (items) => items.length), 3, "two cameras, and none");
  await accessible(one.page, "the lobby");
  await one.page.screenshot({ path: path.join(shots, "lobby.png") });
  await one.page.selectOption("#language", "ko");
  assert.equal(await one.page.textContent("#join"), "참가");
  assert.equal(await one.page.getAttribute("html", "lang"), "ko");
  await one.page.screenshot({ path: path.join(shots, "lobby-ko.png") });
});

test("in mid-call another camera and another microphone are taken", async () => {
  await join(one.page, server.url, "offices", "Wanda");
  await join(two.page, server.url, "offices", "Blau");
  await says(two, "#people", /^2 people$/);
  assert.equal(await one.page.textContent("#mute"), "음소거", "the language stays");
  const before = await until("one's own camera", async () => {
    const seen = await camera(one);
    return { ...seen, ok: seen?.width > 0 };
  });
  await one.page.click("#settings");
  await until("the level", () => one.page.$eval("#mic-level", (m) => m.value > 0.1));
  const other = await one.page.$eval("#camera", (select) => [...select.options].find((o) => !o.selected && o.value !== "none").value);
  await one.page.selectOption("#camera", other);
  await until("the other camera", async () => {
    const seen = await camera(one);
    return { ...seen, ok: seen?.label !== before.label && seen.width > 0 && seen.state === "live" };
  });
  await one.page.screenshot({ path: path.join(shots, "settings-ko.png") });
  await accessible(one.page, "the settings");
  await one.page.selectOption("#language-in-call", "en");
  await one.page.keyboard.press("Escape");
  assert.equal(await one.page.evaluate(() => document.activeElement.id), "settings", "the keyboard is back where it was");
  assert.equal(await one.page.textContent("#mute"), "Mute");
  assert.equal((await people("offices")).length, 2, "nobody had to join again");
  const { missing } = await one.page.evaluate(async () => ({ missing: [...(await import("/static/i18n.js")).missing] }));
  assert.deepEqual(missing, [], "all that was shown has Korean words");
});

test("who is muted stays so with another microphone; without a camera one is still there", async () => {
  await one.page.click("#mute");
  await one.page.click("#settings");
  await one.page.selectOption("#microphone", { index: 1 });
  await one.page.selectOption("#camera", "none");
  await until("no camera", async () => (await camera(one)) === undefined);
  await one.page.click("#settings-done");
  assert.equal(await one.page.getAttribute("#mute", "aria-pressed"), "true");
  assert.equal(await one.page.getAttribute("#camera-off", "aria-pressed"), "true");
  await one.page.click("#camera-off");
  await until("a camera again", async () => (await camera(one))?.state === "live");
  await one.page.click("#mute");
  assert.equal(await one.page.textContent("#mute"), "Mute");
});

test("a camera that is unplugged is told of, and another one takes its place", async () => {
  const gone = await one.page.evaluateHandle(() => document.querySelector("#self video").srcObject.getVideoTracks()[0]);
  await gone.evaluate((track) => { track.stop(); track.dispatchEvent(new Event("ended")); });
  await says(one, "#message", /camera was unplugged/);
  await until("another one", async () => (await camera(one))?.state === "live");
  await one.page.click("#message-close");
  assert.equal(await one.page.isVisible("#message"), false);
});

test("who comes later is told that it is recorded, and all that it is over", async () => {
  await two.page.click("#record");
  await says(one, "#rec", /^Recording$/);
  const third = await startBrowser(null);
  try {
    await join(third.page, server.url, "offices", "Late");
    await says(third, "#rec", /^Recording$/);
    await two.page.click("#record");
    await says(third, "#rec", /^$/);
  } finally {
    await third.browser.close();
  }
});

test("overload is shown, and that it is over", async () => {
  const tell = (name, level) => one.page.evaluate((data) => window.channel.dispatchEvent(new MessageEvent("message",
    { data: JSON.stringify({ id: "x", type: "overload", time: new Date().toISOString(), room: "offices", seq: 1, data }) })), { name, level, reason: "queue" });
  await tell("base-layer", 2);
  await says(one, "#load", /server is busy.*less smoothly/);
  await one.page.screenshot({ path: path.join(shots, "overload.png") });
  await tell("normal", 0);
  await says(one, "#load", /^$/);
});

test("a phone has all of it behind one button", async () => {
  await one.page.setViewportSize({ width: 390, height: 844 });
  assert.equal(await one.page.isVisible("#record"), false);
  await accessible(one.page, "the call on a phone");
  await one.page.screenshot({ path: path.join(shots, "phone.png") });
  await one.page.click("#more");
  assert.equal(await one.page.isVisible("#record"), true);
  await accessible(one.page, "the call on a phone, with more buttons");
  await one.page.screenshot({ path: path.join(shots, "phone-more.png") });
  await one.page.click("#more");
  await one.page.setViewportSize({ width: 1280, height: 800 });
  await accessible(one.page, "the call");
});

test("who is removed is told so, and does not come back by itself", async () => {
  const [him] = (await people("offices")).filter((p) => p.name === "Blau");
  assert.equal((await fetch(`${server.url}/v1/rooms/offices/participants/${him.id}`, { method: "DELETE" })).status, 204);
  await says(two, "#message", /^You were removed from the room\./);
  assert.ok(await two.page.isVisible("#lobby"));
  await says(one, "#people", /^Only you are here$/);
});

test("a full room refuses in words", async () => {
  const made = await fetch(`${server.url}/v1/rooms/narrow`, {
    method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ maxParticipants: 1 }),
  });
  assert.equal(made.status, 201);
  await join(two.page, server.url, "narrow", "First");
  const third = await startBrowser(null);
  try {
    await third.page.goto(`${server.url}/r/narrow`);
    await third.page.waitForFunction(() => document.getElementById("camera").options.length > 0);
    await third.page.click("#join");
    await says(third, "#message", /^The room is full\./);
  } finally {
    await third.browser.close();
  }
});

test("no page complained", () => {
  // The console tells of refusals as well: of the session that was ended.
  assert.deepEqual([...one.page.complaints, ...two.page.complaints].filter((words) => !/status of 410/.test(words)), []);
});

test("after a restart of the server the page comes back by itself", async () => {
  // Not one of the ports that systems give out by themselves, which a browser's
  // own connection could have taken meanwhile.
  let first, flags;
  for (let tries = 0; !first; tries++) {
    flags = ["--http", `127.0.0.1:${20000 + Math.floor(Math.random() * 10000)}`];
    first = await startServer(...flags).catch((error) => { if (tries > 20) throw error; });
  }
  let second;
  try {
    await join(one.page, first.url, "again", "Wanda");
    await until("the mix", async () => (await readTiles(one.page, [])).width > 0);
    assert.equal(await first.stop(), 0);
    second = await startServer(...flags);
    await until("the new server has her", async () => {
      const response = await fetch(`${second.url}/v1/rooms/again/participants`);
      return response.ok && (await response.json()).items.some((p) => p.name === "Wanda" && p.state === "active");
    }, 60);
    await says(one, "#link-state", /^$/);
    assert.ok(await one.page.isVisible("#call"));
  } finally {
    await one.page.goto("about:blank");
    await second?.stop();
  }
});
