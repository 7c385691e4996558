// Somebody looks after the rooms: sees them live, moderates by click and by
// keyboard, in English and Korean, at a desk and on a phone.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { accessible } from "./axe.js";
import { shots, startBrowser, startMember, startServer, until } from "./harness.js";

let server, admin, page, film;

before(async () => {
  mkdirSync(shots, { recursive: true });
  // A limit far away, so that there is a capacity to look at.
  server = await startServer("--no-limit=false", "--cores", "64");
  admin = await startBrowser(null);
  page = admin.page;
  film = startMember(server, "standup");
  await api("PUT", "rooms/quiet", { name: "조용한 방" });
});

after(async () => {
  await Promise.all([admin?.browser.close(), film?.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

async function api(method, rest, body) {
  const response = await fetch(`${server.url}/v1/${rest}`, {
    method, body: body && JSON.stringify(body), headers: body ? { "Content-Type": "application/json" } : {},
  });
  return response.status === 204 ? null : response.json();
}

const people = async () => (await api("GET", "rooms/standup/participants")).items;
const shot = (name) => page.screenshot({ path: path.join(shots, `admin-${name}.png`), fullPage: true });
const room = () => page.locator("#room-list button", { hasText: "standup" });
const person = (name) => page.locator("#people-list > li", { hasText: name });
const says = (words) => until(words, async () => (await page.textContent("#status")) === words);
const shows = (what, selector) => until(what, () => page.isVisible(selector));

/** Opens the menu of somebody and chooses from it. */
async function choose(name, act) {
  await person(name).locator("summary").click();
  await person(name).locator(`[data-act=${act}]`).click();
}

test("the rooms are shown as they are, with what they cost", async () => {
  await page.goto(`${server.url}/admin`);
  await until("two rooms", async () => (await page.locator("#room-list > li").count()) === 2);
  await until("a person", async () => (await room().textContent()).includes("1 person"));
  assert.match(await page.textContent("#room-list"), /조용한 방/);
  assert.match(await page.textContent("#node-words"), /^[\d.]+ of 64.00 cores are used, [\d.]+ are left for more\. \w+/);
  assert.equal(await page.getAttribute("#node-meter", "max"), "64");
  await until("its picture", () => room().locator("img").evaluate((i) => i.naturalWidth > 0));
  assert.equal(await page.isHidden("#sign-out"), true, "without keys nobody signs in");
  await accessible(page, "the rooms");
});

test("a room is chosen by keyboard, and shows who is in it", async () => {
  await room().focus();
  await page.keyboard.press("Enter");
  await until("the room", async () => (await page.evaluate(() => document.activeElement.id)) === "room-title");
  assert.equal(await page.textContent("#room-title"), "standup");
  await until("what Film sends", async () => (await person("Film").textContent()).includes("sound, camera"));
  await until("what Film is sent", async () => /\d+x\d+@\d+ VP8/.test(await person("Film").textContent()));
  await until("a picture", () => page.$eval("#room-picture", (i) => i.naturalWidth > 0));
  await accessible(page, "a room");
  await shot("room");
});

test("who comes is there at once", async () => {
  const second = startMember(server, "standup");
  try {
    await until("two people", async () => (await page.locator("#people-list > li").count()) === 2);
  } finally {
    await second.close();
  }
  await until("one person", async () => (await page.locator("#people-list > li").count()) === 1);
});

test("one is muted, pinned and renamed", async () => {
  await person("Film").locator("[data-act=mute]").click();
  await says("Film is muted.");
  assert.equal((await people())[0].send.audio.muted, true);
  await until("the button", async () => (await person("Film").locator("[data-act=mute]").textContent()) === "Unmute");
  await person("Film").locator("[data-act=mute]").click();
  await says("Film can be heard again.");

  await person("Film").locator("[data-act=pin]").click();
  await until("a pin", async () => (await api("GET", "rooms/standup/layout")).pins.length === 1);
  await until("the button", async () => (await person("Film").locator("[data-act=pin]").textContent()) === "Unpin");
  await person("Film").locator("[data-act=pin]").click();
  await until("no pin", async () => (await api("GET", "rooms/standup/layout")).pins.length === 0);

  await choose("Film", "rename");
  await shows("the dialog", "#ask");
  await accessible(page, "a dialog");
  await shot("dialog");
  await page.fill("#ask-text", "영화 <b>");
  await page.keyboard.press("Enter");
  await says("Renamed.");
  assert.equal((await people())[0].name, "영화 <b>");
  await until("the name", async () => (await person("영화 <b>").count()) === 1);

  await choose("영화", "group");
  await page.fill("#ask-text", "breakout");
  await page.keyboard.press("Enter");
  await says("Moved.");
  assert.equal((await people())[0].group, "breakout");
  await choose("영화", "group");
  await page.fill("#ask-text", "");
  await page.keyboard.press("Enter");
  await until("back", async () => (await people())[0].group === "");

  await choose("영화", "floor");
  await says("영화 <b> has the floor.");
  const [{ id }] = await people();
  assert.equal((await api("GET", "rooms/standup")).floor, id);
  await choose("영화", "floor");
  await says("Whoever speaks has the floor.");
  await choose("영화", "role");
  await says("영화 <b> only watches.");
  assert.equal((await people())[0].role, "viewer");
  await choose("영화", "role");
  await says("영화 <b> takes part.");

  await choose("영화", "room");
  await page.fill("#ask-text", "quiet");
  await page.keyboard.press("Enter");
  await until("there", async () => (await api("GET", "rooms/quiet/participants")).items.length === 1);
  await until("gone from here", async () => (await page.locator("#people-list > li").count()) === 0);
  assert.equal((await api("GET", "rooms/quiet/participants")).items[0].id, id);
  await api("PATCH", `rooms/quiet/participants/${id}`, { room: "standup" });
  await until("back", async () => (await page.locator("#people-list > li").count()) === 1);
});

test("the room is arranged, locked and muted", async () => {
  await page.selectOption("#room-layout", "speaker");
  await says("The picture is arranged anew.");
  assert.equal((await api("GET", "rooms/standup/layout")).mode, "speaker");
  await page.click("#room-locked");
  await says("Nobody else can come in.");
  assert.equal((await api("GET", "rooms/standup")).locked, true);
  await until("the button", async () => (await page.getAttribute("#room-locked", "aria-pressed")) === "true");
  await page.click("#room-locked");
  await says("Everybody can come in again.");
  for (const [button, field, on, off] of [
    ["silent", "mutedOnJoin", "Who comes is muted.", "Who comes is heard."],
    ["lasting", "persistent", "The room stays when all have left, and when the server starts anew.", "The room ends after all have left."],
  ]) {
    await page.click(`#room-${button}`);
    await says(on);
    assert.equal((await api("GET", "rooms/standup"))[field], true);
    await page.click(`#room-${button}`);
    await says(off);
    assert.equal((await api("GET", "rooms/standup"))[field], false);
  }
  await page.click("#room-unmute");
  await says("Who is muted stays so until you change that.");
  assert.equal((await api("GET", "rooms/standup")).selfUnmute, false);
  await page.click("#room-pin");
  await page.fill("#ask-text", "12a4");
  await page.keyboard.press("Enter");
  assert.equal(await page.isVisible("#ask"), true, "that is no PIN");
  await page.fill("#ask-text", "1234");
  await page.keyboard.press("Enter");
  await says("The PIN is set.");
  await page.click("#room-pin");
  await page.fill("#ask-text", "");
  await page.keyboard.press("Enter");
  await says("There is no PIN.");
  assert.equal((await api("GET", "rooms/standup")).pin, "");
  await page.click("#room-mute");
  await says("Everybody is muted.");
  assert.equal((await people()).every((p) => p.send.audio.muted), true);
});

test("who waits is let in, and who is banned stays out", async () => {
  await page.click("#room-waiting");
  await says("Who comes waits until you let them in.");
  const second = startMember(server, "standup");
  try {
    const waits = page.locator("#people-list > li.waiting");
    await until("somebody who waits", async () => (await waits.count()) === 1);
    await accessible(page, "a waiting room");
    await shot("waiting");
    await waits.locator("[data-act=admit]").click();
    await says("Film was let in.");
    await until("nobody waits", async () => (await waits.count()) === 0);
    assert.equal((await people()).every((p) => p.admitted), true);
    await page.click("#room-waiting");
    await says("Who comes is let in, and so is who has waited.");
  } finally {
    await second.close();
  }
  await until("one person", async () => (await page.locator("#people-list > li").count()) === 1);
  // Everybody here has one address: what is banned is another.
  await api("POST", "rooms/standup/bans", { address: "203.0.113.7" });
  await until("a ban", async () => (await page.locator("#ban-list > li").count()) === 1);
  await page.click("#ban-list button");
  await says("The ban is lifted.");
  assert.deepEqual((await api("GET", "rooms/standup/bans")).items, []);
  await until("no bans", () => page.isHidden("#bans"));
});

test("a recording is made, played, downloaded and deleted", async () => {
  await page.click("#room-record");
  await says("Recording, and everybody is told so.");
  await until("the button", async () => (await page.textContent("#room-record")) === "Stop recording");
  await until("a second of it", async () => (await api("GET", "recordings")).items[0].bytes > 20_000);
  await page.click("#room-record");
  await says("The recording is saved.");
  const item = page.locator("#recording-list > li");
  assert.match(await page.textContent("#storage"), /^\S+ \S+ are used, and the disk has \S+ \S+ free\./);
  await until("it is there to play", () => item.locator("[data-act=play]").isEnabled());
  await item.locator("[data-act=play]").click();
  await until("it plays", () => item.locator("video").evaluate((v) => v.duration > 0 && v.videoWidth > 0));
  await accessible(page, "a recording");
  const [download] = await Promise.all([page.waitForEvent("download"), item.locator("[data-act=download]").click()]);
  assert.match(download.suggestedFilename(), /^standup-.*\.webm$/);
  assert.equal(readFileSync(await download.path()).readUInt32BE(0), 0x1A45DFA3, "a WebM file");
  await item.locator("[data-act=delete]").click();
  await page.click("#ask-no");
  assert.equal((await api("GET", "recordings")).items.length, 1, "no is no");
  await item.locator("[data-act=delete]").click();
  await page.click("#ask-yes");
  await says("Deleted.");
  assert.deepEqual((await api("GET", "recordings")).items, []);
  await shows("none", "#no-recordings");
});

test("in Korean, on a phone", async () => {
  await page.selectOption("#language", "ko");
  assert.equal(await page.getAttribute("html", "lang"), "ko");
  assert.equal(await page.textContent("#people-title"), "사람");
  await page.setViewportSize({ width: 390, height: 844 });
  await accessible(page, "a phone");
  await shot("phone-ko");
  await person("영화").locator("summary").click();
  await accessible(page, "a menu on a phone");
  await page.keyboard.press("Escape");
  assert.equal(await person("영화").locator("details").getAttribute("open"), null);
  await page.reload();
  await until("the room is shown again", async () => (await page.textContent("#room-title")) === "standup");
  assert.equal(await page.textContent("#rooms-title"), "방", "the choice is remembered");
  assert.deepEqual(await page.evaluate(async () => [...(await import("/static/i18n.js")).missing]), []);
  await page.selectOption("#language", "en");
  assert.equal(await page.textContent("#rooms-title"), "Rooms");
  await page.setViewportSize({ width: 1280, height: 800 });
});

test("somebody is removed, and the room ended", async () => {
  await choose("영화", "kick");
  assert.equal(await page.evaluate(() => document.activeElement.id), "ask-no", "what cannot be undone is not done by Enter alone");
  await page.click("#ask-yes");
  await says("영화 <b> was removed.");
  await shows("nobody", "#no-people");
  assert.deepEqual(await people(), []);
  await page.click("#room-end");
  await page.click("#ask-yes");
  await until("one room", async () => (await page.locator("#room-list > li").count()) === 1);
  assert.equal(await page.isHidden("#room"), true);
  assert.equal((await api("GET", "rooms")).items.length, 1);
  await shot("rooms");
});

test("no page complained", () => {
  // The browser itself tells of each refusal, and some are in order: without keys nobody is known to be a moderator, so
  // of a room where people wait to be let in there is no picture; and rooms end, and empty, while they are asked about.
  assert.deepEqual(page.complaints.filter((c) => !/status of 40[349]/.test(c)), []);
});
