// People in a room write to each other, know who is there, and see themselves at
// once; over the data channel, and where that is refused over plain HTTP.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { join, readTiles, shots, startBrowser, startServer, until } from "./harness.js";

let server, red, blue, plain;

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer();
  [red, blue, plain] = await Promise.all([startBrowser("red"), startBrowser("blue"), startBrowser(null)]);
  // The server closes channels of other names.
  await plain.page.addInitScript(() => {
    const create = RTCPeerConnection.prototype.createDataChannel;
    RTCPeerConnection.prototype.createDataChannel = function (label, how) { return create.call(this, "other", how); };
  });
  await join(red.page, server.url, "talk", "Red");
  await join(blue.page, server.url, "talk", "푸른 별");
});

after(async () => {
  await Promise.all([red?.browser.close(), blue?.browser.close(), plain?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

const source = ({ page }) => page.getAttribute("#call", "data-events");
const lines = ({ page }) => page.$$eval("#chat-log p", (items) => items.map((i) => i.textContent.replace(/^\S+( [AP]M)? /, "")));
const says = (who, ...wanted) => until(wanted.join(" / "), async () => {
  const seen = await lines(who);
  return { seen, ok: JSON.stringify(seen) === JSON.stringify(wanted) };
});

test("events come over the data channel", async () => {
  for (const who of [red, blue]) await until("a channel", async () => (await source(who)) === "channel");
  await until("two people", async () => (await red.page.textContent("#people")) === "2 people");
});

test("they write to each other, by keyboard alone", async () => {
  await red.page.focus("#chat");
  await red.page.keyboard.press("Enter");
  assert.equal(await red.page.evaluate(() => document.activeElement.id), "chat-text", "the keyboard is where one writes");
  await red.page.keyboard.type("안녕하세요 <b>\"푸른 별\"</b>");
  await red.page.keyboard.press("Enter");
  await says(red, "You: 안녕하세요 <b>\"푸른 별\"</b>");
  await says(blue, "Red: 안녕하세요 <b>\"푸른 별\"</b>");
  assert.equal(await blue.page.textContent("#chat"), "Chat (1 new)");
  await blue.page.click("#chat");
  assert.equal(await blue.page.textContent("#chat"), "Chat");
  assert.deepEqual(await blue.page.$$eval("#roster li", (items) => items.map((i) => i.firstChild.textContent)), ["Red", "푸른 별"]);
  await blue.page.fill("#chat-text", "반가워요");
  await blue.page.click("#chat-send");
  await says(red, "You: 안녕하세요 <b>\"푸른 별\"</b>", "푸른 별: 반가워요");
  await red.page.screenshot({ path: path.join(shots, "chat.png") });
  await red.page.keyboard.press("Escape");
  assert.equal(await red.page.evaluate(() => document.activeElement.id), "chat");
  assert.equal(await red.page.isHidden("#side"), true);
});

// The tile of somebody in the room's picture, on the page.
async function tileOf({ page }, name) {
  const { shown, canvas } = await (await fetch(`${server.url}/v1/rooms/talk/layout`)).json();
  const stage = await page.$eval("#stage", (s) => ({ x: s.getBoundingClientRect().x, y: s.getBoundingClientRect().y, w: s.clientWidth, h: s.clientHeight }));
  const scale = Math.min(stage.w / canvas.width, stage.h / canvas.height);
  const tile = shown.find((t) => t.name === name);
  return tile && [stage.x + (stage.w - canvas.width * scale) / 2 + tile.x * scale, stage.y + (stage.h - canvas.height * scale) / 2 + tile.y * scale, tile.width * scale, tile.height * scale];
}

const lies = (who, name) => until("one's own camera over one's tile", async () => {
  const want = await tileOf(who, name);
  const got = await who.page.$eval("#self", (s) => { const b = s.getBoundingClientRect(); return s.hidden ? null : [b.x, b.y, b.width, b.height]; });
  return { want, got, ok: Boolean(want && got && want.every((v, i) => Math.abs(v - got[i]) < 1.5)) };
});

test("one's own camera lies over one's tile, wherever that goes", async () => {
  await lies(red, "Red");
  await lies(blue, "푸른 별");
  const played = await red.page.$eval("#self video", (v) => ({ width: v.videoWidth, muted: v.muted, mirrored: getComputedStyle(v).transform }));
  assert.ok(played.width > 0 && played.muted && played.mirrored.startsWith("matrix(-1"), JSON.stringify(played));
  // Beneath it there is the tile.
  const tile = async () => (await readTiles(red.page, [[0.15, 0.4, 0.2, 0.2]])).tiles[0];
  await until("a red tile", async () => { const t = await tile(); return { ...t, ok: t && t.r > t.b + 25 }; });

  await red.page.selectOption("#layout", "pip");
  await lies(red, "Red");
  await lies(blue, "푸른 별");
  // Who fills the picture leaves the one in the corner free.
  await until("a hole for the one in the corner", async () => {
    const clips = await Promise.all([red, blue].map(({ page }) => page.$eval("#self", (s) => s.style.clipPath)));
    return { clips, ok: clips.filter(Boolean).length === 1 };
  });
  await red.page.screenshot({ path: path.join(shots, "mirror.png") });
  await red.page.setViewportSize({ width: 700, height: 900 });
  await lies(red, "Red");
  await red.page.selectOption("#layout", "grid");
  await lies(red, "Red");
  await red.page.setViewportSize({ width: 1280, height: 800 });
  await lies(red, "Red");

  await red.page.click("#mirror");
  assert.equal(await red.page.isHidden("#self"), true);
  assert.equal(await red.page.getAttribute("#mirror", "aria-pressed"), "false");
  await red.page.click("#mirror");
  await lies(red, "Red");
  await red.page.click("#camera-off");
  assert.equal(await red.page.isHidden("#self"), true);
  await red.page.click("#camera-off");
  await lies(red, "Red");
  // In a picture without oneself there is nothing to paint over.
  await red.page.click("#hide-self");
  await until("no tile", () => red.page.isHidden("#self"));
  await red.page.click("#hide-self");
  await lies(red, "Red");
});

test("without a data channel all goes on over plain HTTP", async () => {
  await join(plain.page, server.url, "talk", "Plain");
  await until("a stream", async () => (await source(plain)) === "stream");
  await until("three people", async () => (await plain.page.textContent("#people")) === "3 people");
  await plain.page.click("#chat");
  await plain.page.fill("#chat-text", "여기도 들려요");
  await plain.page.keyboard.press("Enter");
  await says(plain, "You: 여기도 들려요");
  await until("the others are told", async () => (await lines(red)).at(-1) === "Plain: 여기도 들려요");
  // To one alone.
  await blue.page.selectOption("#chat-to", { label: "Plain" });
  await blue.page.fill("#chat-text", "비밀");
  await blue.page.click("#chat-send");
  await says(plain, "You: 여기도 들려요", "푸른 별 to you only: 비밀");
  await until("the author", async () => (await lines(blue)).at(-1) === "You to Plain only: 비밀");
  assert.ok(!(await lines(red)).some((l) => l.includes("비밀")), "nobody else is told");
  // Who is not there any more is told of as such.
  await plain.page.click("#leave");
  await until("two people", async () => (await blue.page.textContent("#people")) === "2 people");
  await blue.page.fill("#chat-text", "noch da?");
  await blue.page.click("#chat-send");
  await until("a refusal", async () => !(await blue.page.isHidden("#message")));
});

test("no page complained", () => {
  assert.deepEqual([...red.page.complaints, ...blue.page.complaints, ...plain.page.complaints], []);
});
