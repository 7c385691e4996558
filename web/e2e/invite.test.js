// A server with keys: a host invites by a click, the invited come in by the link
// alone, and what they may not do is told in words.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AccessToken } from "livekit-server-sdk";
import { startBrowser, startServer, until } from "./harness.js";

const key = "devkey", secret = "0123456789abcdef0123456789abcdef";
let server, host, guest, link;

before(async () => {
  server = await startServer("--key", `${key}:${secret}`);
  [host, guest] = await Promise.all([
    startBrowser("red", { permissions: ["camera", "microphone", "clipboard-read", "clipboard-write"] }), startBrowser("blue")]);
});

after(async () => {
  await Promise.all([host?.browser.close(), guest?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

async function tokenOf(identity, grant) {
  const token = new AccessToken(key, secret, { identity, ttl: "1h" });
  token.addGrant({ roomJoin: true, room: "board", ...grant });
  return token.toJwt();
}

async function enter({ page }, url) {
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("camera").options.length > 0);
  await page.click("#join");
}

const says = ({ page }, where, what) => until(`${where} says ${what}`, async () => {
  const said = await page.textContent(where);
  return { said, ok: what.test(said) };
});

test("without a link that lets one in the page says so", async () => {
  await enter(guest, `${server.url}/r/board`);
  await says(guest, "#message", /^You need a link that lets you in/);
});

test("a host copies a link that lets people in", async () => {
  await enter(host, `${server.url}/r/board#token=${await tokenOf("host", { roomAdmin: true, roomRecord: true })}`);
  await host.page.waitForSelector("#call:not([hidden])");
  await host.page.click("#share");
  await says(host, "#message", /^Copied: a link that lets people in until /);
  link = await host.page.evaluate(() => navigator.clipboard.readText());
  assert.match(link, /^http:\/\/[^/]+\/r\/board#token=/);
  await guest.page.goto("about:blank"); // another fragment alone loads no page anew
  await enter(guest, link);
  await guest.page.waitForSelector("#call:not([hidden])");
  await says(host, "#people", /^2 people$/);
});

test("what a guest may not do is told, and not offered again", async () => {
  await guest.page.click("#share");
  await says(guest, "#message", /^Only a host can invite people\./);
  await guest.page.click("#record");
  await says(guest, "#message", /^Recording: You may not do this here\./);
  assert.equal(await guest.page.isVisible("#record"), false);
  await guest.page.selectOption("#layout", "sidebar");
  await says(guest, "#message", /^Layout: You may not do this here\./);
  assert.equal(await guest.page.isVisible("#layout"), false);
});

test("who may record, but not download, is told that it is saved", async () => {
  await host.page.click("#record");
  await says(guest, "#rec", /^Recording$/);
  await host.page.click("#record");
  await says(host, "#message", /^Saved\. You may not do this here\./);
  await says(guest, "#rec", /^$/);
});

test("the test page goes by the same link", async () => {
  await guest.page.click("#leave");
  await guest.page.click("#to-test");
  await guest.page.click("#start");
  await until("all results", () => guest.page.$eval("#results", (list) => list.dataset.done === "true"), 60);
  const seen = await guest.page.$$eval("#results li", (items) => Object.fromEntries(items.map((i) => [i.id.replace("result-", ""), i.dataset.state])));
  assert.deepEqual([seen.server, seen.udp, seen.tcp, seen.echo], ["works", "works", "works", "none"], "there is a host in the room, who would hear it");
  assert.ok(!guest.page.url().includes("token"));
});
