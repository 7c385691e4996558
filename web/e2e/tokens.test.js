// A server with keys: what LiveKit's own server SDK makes lets people in, and
// nothing else does.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AccessToken } from "livekit-server-sdk";
import { startBrowser, startServer, until } from "./harness.js";

const key = "devkey", secret = "0123456789abcdef0123456789abcdef";
let server, red;

before(async () => {
  server = await startServer("--key", `${key}:${secret}`);
  red = await startBrowser("red");
});

after(async () => {
  await red?.browser.close();
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

/** A token as a program of LiveKit's users makes it. */
function tokenOf(identity, grant, { ttl = "1h", by = secret, name } = {}) {
  const token = new AccessToken(key, by, { identity, ttl, name });
  token.addGrant(grant);
  return token.toJwt();
}

const speaker = { roomJoin: true, room: "r" };

function ask(token, path, options = {}) {
  return fetch(server.url + path, { ...options, headers: { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) } });
}

test("LiveKit's SDK makes a token that joins by the page", async () => {
  const { page } = red;
  await page.goto(`${server.url}/r/r#token=${await tokenOf("ann", speaker, { name: "Ann of the token" })}`);
  await page.waitForFunction(() => document.getElementById("camera").options.length > 0);
  await page.click("#join");
  await page.waitForSelector("#call:not([hidden])");
  await until("a picture", () => page.evaluate(() => document.getElementById("mix").videoWidth > 0));
  const host = await tokenOf("host", { ...speaker, roomAdmin: true });
  const { items } = await (await ask(host, "/v1/rooms/r/participants")).json();
  assert.deepEqual(items.map(({ identity, name }) => ({ identity, name })), [{ identity: "ann", name: "Ann of the token" }]);
  assert.ok(!page.url().includes("token"), "the token has gone from the address bar");
  const used = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name).join(" "));
  assert.ok(!used.includes("token="), "no address that the page asked for has the token");
});

test("nothing else joins", async () => {
  const offer = { method: "POST", headers: { "Content-Type": "application/sdp" }, body: "v=0\r\n" };
  const join = async (token) => (await ask(token, "/v1/rooms/r/participants", offer)).status;
  assert.equal(await join(), 401, "no token");
  assert.equal(await join(await tokenOf("eve", speaker, { by: `${secret}x` })), 401, "another secret");
  assert.equal(await join(await tokenOf("eve", speaker, { ttl: "30d" })), 401, "a month");
  assert.equal(await join(await tokenOf("eve", { ...speaker, room: "other" })), 403, "another room");
  assert.equal(await join(await tokenOf("eve", { room: "r" })), 403, "no roomJoin");
  assert.equal(await join(await tokenOf("eve", speaker)), 400, "a good one fails at the offer, which is none");
});

test("who is removed does not come back with the token he has", async () => {
  const { page } = red;
  const host = await tokenOf("host", { ...speaker, roomAdmin: true });
  const { items: [ann] } = await (await ask(host, "/v1/rooms/r/participants")).json();
  const before = await tokenOf("ann", speaker);
  assert.equal((await ask(before, "/v1/rooms/r")).status, 200);
  assert.equal((await ask(host, `/v1/rooms/r/participants/${ann.id}`, { method: "DELETE" })).status, 204);
  assert.equal((await ask(before, "/v1/rooms/r")).status, 401);
  await page.waitForSelector("#lobby:not([hidden])");
});

test("an invitation of a host lets people in, and a token for a URL is good for that alone", async () => {
  const host = await tokenOf("host", { ...speaker, roomAdmin: true });
  const make = async (token, body) => ask(token, "/v1/rooms/r/tokens",
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const { token, link } = await (await make(host, { name: "Guest" })).json();
  assert.equal(link, `/r/r#token=${token}`);
  assert.equal((await make(token, {})).status, 403, "a guest does not invite");
  const { token: forURL } = await (await make(token, { scope: "events" })).json();
  const events = await fetch(`${server.url}/v1/rooms/r/events?token=${forURL}`);
  assert.equal(events.status, 200);
  await events.body.cancel();
  assert.equal((await fetch(`${server.url}/v1/rooms/r?token=${forURL}`)).status, 403);
  assert.equal((await fetch(`${server.url}/v1/rooms/r?token=${token}`)).status, 401, "no other token is taken in a URL");
  assert.ok(!server.log().includes(token.slice(0, 60)), "the log has no token");
});
