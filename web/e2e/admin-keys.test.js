// The admin page of a server with keys: who has no token sees nothing, and each
// token shows what it is for.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { accessible } from "./axe.js";
import { shots, startBrowser, startMember, startServer, until } from "./harness.js";

const key = "test:0123456789abcdef0123456789abcdef0123456789";

let server, page, browser, all, host, lister;

const token = (...flags) => execFileSync(server.program, ["token", "--key", key, ...flags], { encoding: "utf8" }).trim();

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer("--key", key);
  ({ page, browser } = await startBrowser(null));
  all = token("--admin");
  host = token("--room", "standup", "--role", "host");
  lister = token("--room", "standup");
  for (const room of ["standup", "quiet"]) {
    const made = await fetch(`${server.url}/v1/rooms/${room}`, { method: "PUT", headers: { Authorization: `Bearer ${all}` } });
    assert.equal(made.status, 201, await made.text());
  }
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

const rooms = () => page.$$eval("#room-list b", (items) => items.map((i) => i.textContent).sort());
const signIn = async (text) => {
  await page.fill("#token", text);
  await page.keyboard.press("Enter");
};

test("without a token there is nothing to see", async () => {
  await page.goto(`${server.url}/admin`);
  await until("a place to sign in", () => page.isVisible("#sign-in"));
  assert.equal(await page.isHidden("#admin"), true);
  assert.equal(await page.evaluate(() => document.activeElement.id), "token");
  await accessible(page, "signing in");
  await page.screenshot({ path: path.join(shots, "admin-sign-in.png") });
});

test("a wrong token is refused in words", async () => {
  await signIn("not a token");
  await until("a refusal", async () => (await page.textContent("#message")) === "This token does not let you in, or not any more.");
  assert.equal(await page.isVisible("#sign-in"), true);
});

test("a token that may look after nothing shows nothing", async () => {
  await signIn(lister);
  // It may look at its room, since it may join it; what it may not do is said when it is tried.
  await until("its room", async () => (await rooms()).join() === "standup");
  await page.click("#room-locked");
  await until("a refusal", async () => (await page.textContent("#message")) === "You may not do this here.");
  await page.click("#sign-out");
  await until("signed out", () => page.isVisible("#sign-in"));
});

test("an owner sees all rooms, and the load", async () => {
  await signIn(all);
  await until("both rooms", async () => (await rooms()).join() === "quiet,standup");
  assert.equal(await page.isVisible("#node"), true);
  assert.equal(await page.inputValue("#token"), "", "the token is not left lying about");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.click("#room-list button");
  await until("a room", () => page.isVisible("#room"));
  await page.click("#room-invite");
  await until("a link", async () => (await page.textContent("#status")) === "The link is copied. Whoever has it can join.");
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), new RegExp(`^${server.url}/r/\\w+#token=\\S+$`));
});

test("a recording plays by a token of its own", async () => {
  process.env.MIXDOWN_TOKEN = token("--room", "standup", "--identity", "film"); // of the member
  const film = startMember(server, "standup");
  try {
    await page.locator("#room-list button", { hasText: "standup" }).click();
    await until("a picture", () => page.$eval("#room-picture", (i) => i.naturalWidth > 0));
    await page.click("#room-record");
    await until("a recording", async () => (await page.textContent("#room-record")) === "Stop recording");
    await until("a second of it", async () => {
      const { items: [first] } = await (await fetch(`${server.url}/v1/recordings`, { headers: { Authorization: `Bearer ${all}` } })).json();
      return first?.bytes > 20_000;
    });
    await page.click("#room-record");
    await page.click("#recording-list [data-act=play]"); // waits until it can be
    await until("it plays", () => page.locator("#recording-list video").evaluate((v) => v.duration > 0));
    const played = new URL(await page.locator("#recording-list video").evaluate((v) => v.src)).searchParams.get("token");
    assert.ok(played && played !== all, "addresses have no token that is good for more");
  } finally {
    await film.close();
  }
  await page.reload();
  await until("signed out", () => page.isVisible("#sign-in"));
});

test("who looks after one room sees that one", async () => {
  await page.goto("about:blank");
  await page.goto(`${server.url}/admin#token=${host}`);
  await until("the room", async () => (await rooms()).join() === "standup" && await page.isVisible("#room"));
  assert.ok(!page.url().includes("token"), page.url());
  assert.equal(await page.isHidden("#node"), true);
  assert.equal(await page.isHidden("#recordings"), true);
  await page.click("#room-locked");
  await until("locked", async () => (await page.getAttribute("#room-locked", "aria-pressed")) === "true");
});

test("the page did not fail", () => {
  // The browser itself tells of each answer that is a refusal.
  assert.deepEqual(page.complaints.filter((c) => !/status of 40[13]/.test(c)), []);
  assert.ok(!server.log().includes(all), "the token is in no log");
});
