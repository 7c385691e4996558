// What a host does to people, as their pages show it: a PIN, a waiting room, muting,
// moving to another room, making a viewer of somebody, ending it for all.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { accessible } from "./axe.js";
import { join, listen, readTiles, shots, startBrowser, startServer, until } from "./harness.js";

let server, host, guest;

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer();
  [host, guest] = await Promise.all([startBrowser("red"), startBrowser("blue")]);
});

after(async () => {
  await Promise.all([host?.browser.close(), guest?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

async function api(method, path, body) {
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  const response = await fetch(server.url + path, { method, headers: { "Content-Type": type }, body: body && JSON.stringify(body) });
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
  return response.status === 204 ? null : response.json();
}

const says = ({ page }, where, what) => until(`${where} says ${what}`, async () => {
  const said = await page.textContent(where);
  return { said, ok: what.test(said) };
});

const named = async (room, name) => (await api("GET", `/v1/rooms/${room}/participants`)).items.find((p) => p.name === name);

test("a room with a PIN asks for it", async () => {
  await api("PUT", "/v1/rooms/safe", { pin: "2468" });
  const { page } = guest;
  await page.goto(`${server.url}/r/safe`);
  await page.waitForFunction(() => document.getElementById("camera").options.length > 0);
  await page.fill("#name", "Guest");
  assert.equal(await page.isVisible("#pin"), false);
  await page.click("#join");
  await says(guest, "#message", /^This room has a PIN/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "pin");
  await accessible(page, "the lobby with a PIN");
  await page.keyboard.type("1357");
  await page.keyboard.press("Enter");
  await says(guest, "#message", /^That is not the PIN/);
  await page.screenshot({ path: path.join(shots, "pin.png") });
  await page.fill("#pin", "2468");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#call:not([hidden])");
  assert.ok(!server.log().includes("2468") && !server.log().includes("1357"), "no PIN is logged");
  await page.click("#leave");
});

test("in a waiting room one waits, hears and sees nothing, and is let in by a click", async () => {
  await api("PUT", "/v1/rooms/hall", {});
  await join(host.page, server.url, "hall", "Host");
  await until("the mix", async () => (await readTiles(host.page, [])).width > 0);
  await api("PATCH", "/v1/rooms/hall", { waitingRoom: true });
  await join(guest.page, server.url, "hall", "Guest");
  await until("the notice", () => guest.page.isVisible("#waiting"));
  await says(host, "#message", /^Guest is waiting to be let in\./);
  await guest.page.screenshot({ path: path.join(shots, "waiting.png") });
  await accessible(guest.page, "the waiting room");
  assert.equal(await guest.page.textContent("#people"), "", "who is inside is not told");
  assert.equal((await guest.page.$$("#roster li")).length, 1);
  await host.page.click("#chat");
  await host.page.screenshot({ path: path.join(shots, "let-in.png") });
  await host.page.click("#roster .let-in:visible");
  await until("inside", async () => !(await guest.page.isVisible("#waiting")));
  await says(guest, "#people", /^2 people$/);
  await until("the other's sound", async () => (await listen(guest.page, [520], 1))[0] > -50);
  assert.equal(await host.page.isVisible("#roster .let-in"), false);
});

test("who is muted by a host is told so, and unmutes himself where the room lets him", async () => {
  const { id } = await named("hall", "Guest");
  await api("PATCH", "/v1/rooms/hall", { selfUnmute: false });
  await api("PATCH", `/v1/rooms/hall/participants/${id}`, { send: { audio: { muted: true } } });
  await says(guest, "#muted", /^You are muted by a host$/);
  assert.equal(await guest.page.textContent("#mute"), "Unmute");
  await guest.page.click("#mute");
  await says(guest, "#message-text", /^Only a host can unmute you here\.$/);
  assert.equal((await named("hall", "Guest")).send.audio.muted, true);
  await api("PATCH", "/v1/rooms/hall", { selfUnmute: true });
  await says(guest, "#muted", /^You are muted: press Unmute to be heard$/);
  await guest.page.screenshot({ path: path.join(shots, "muted.png") });
  await guest.page.click("#mute");
  await says(guest, "#muted", /^$/);
  await says(guest, "#mute", /^Mute$/);
  await until("sound", async () => (await listen(host.page, [1130], 1))[0] > -50);
});

test("who is made a viewer is told so, and comes back", async () => {
  const { id } = await named("hall", "Guest");
  await api("PATCH", `/v1/rooms/hall/participants/${id}`, { role: "viewer" });
  await says(guest, "#muted", /^You watch and listen/);
  await api("PATCH", `/v1/rooms/hall/participants/${id}`, { role: "participant" });
  await says(guest, "#muted", /^$/);
});

test("who is moved to another room is told so, and is there by the same connection", async () => {
  await api("PUT", "/v1/rooms/other", {});
  const { id } = await named("hall", "Guest");
  await api("PATCH", `/v1/rooms/hall/participants/${id}`, { room: "other" });
  await says(guest, "#room-name", /^other$/);
  await says(guest, "#message-text", /^You are in another room now: other$/);
  await says(guest, "#people", /^Only you are here$/);
  assert.match(guest.page.url(), /\/r\/other$/);
  assert.equal(await guest.page.isVisible("#call"), true);
  // What the page does from now on is about the new room.
  await guest.page.selectOption("#layout", "sidebar");
  await until("its layout", async () => (await api("GET", "/v1/rooms/other/layout")).mode === "sidebar");
  await says(host, "#people", /^Only you are here$/);
});

test("when it ends for all the page says so", async () => {
  await api("DELETE", "/v1/rooms/other");
  await says(guest, "#message", /^The meeting has ended\./);
  assert.ok(await guest.page.isVisible("#lobby"));
});

test("no page complained", () => {
  // The console tells of refusals as well: a PIN, a session that was ended.
  const others = [...host.page.complaints, ...guest.page.complaints].filter((words) => !/status of (403|410)/.test(words));
  assert.deepEqual(others, []);
});
