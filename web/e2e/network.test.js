// What becomes of a call when its network changes: ICE begins anew under the
// same media, or, when even that cannot be asked for, the page joins again and
// is who it was.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join, listen, readTiles, startBrowser, startServer, until } from "./harness.js";

const tone = { red: 520, blue: 1130 };
const middles = [[0.15, 0.4, 0.2, 0.2], [0.65, 0.4, 0.2, 0.2]];

let server, red, blue;

before(async () => {
  server = await startServer();
  [red, blue] = await Promise.all([startBrowser("red"), startBrowser("blue")]);
  // The page's connections, for the test to look at.
  await red.page.addInitScript(() => {
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...args) {
        super(...args);
        window.connections.push(this);
      }
    };
  });
  await join(red.page, server.url, "networks", "Rosa");
  await join(blue.page, server.url, "networks", "Blau");
  await until("both tiles", () => bothTiles(red.page));
});

after(async () => {
  await Promise.all([red?.browser.close(), blue?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

async function bothTiles(page) {
  const seen = await readTiles(page, middles);
  const [left, right] = seen.tiles;
  return { ...seen, ok: Boolean(left) && left.r > left.b + 25 && right.b > right.r + 25 };
}

/** Who is here, in their order. */
async function people() {
  const { items } = await (await fetch(`${server.url}/v1/rooms/networks/participants`)).json();
  return items.map(({ id, name, state, csrc }) => ({ id, name, state, csrc }));
}

/** The last connection of the page: its credentials, its port, and what it has heard and seen. */
function connection() {
  return red.page.evaluate(async () => {
    const pc = window.connections.at(-1);
    const stats = [...(await pc.getStats()).values()];
    const inbound = (kind) => stats.find((s) => s.type === "inbound-rtp" && s.kind === kind);
    const pair = stats.find((s) => s.id === stats.find((x) => x.type === "transport")?.selectedCandidatePairId);
    return {
      n: window.connections.length,
      path: pc.iceConnectionState,
      theirs: /a=ice-ufrag:(\S+)/.exec(pc.remoteDescription?.sdp)?.[1],
      port: stats.find((s) => s.id === pair?.localCandidateId)?.port,
      heard: inbound("audio")?.packetsReceived ?? 0,
      seen: inbound("video")?.framesDecoded ?? 0,
    };
  });
}

/** Has the page believe that it is on another network; resolves when it hears and sees again, with how long that took. */
async function moves(arrived) {
  const was = await connection();
  const began = performance.now();
  await red.page.evaluate(() => window.dispatchEvent(new Event("online")));
  await until("the new path", async () => ({ ok: arrived(was, await connection()) }));
  const then = await connection();
  await until("sound and pictures", async () => {
    const now = await connection();
    return now.heard > then.heard + 5 && now.seen > then.seen + 2;
  });
  return { took: performance.now() - began, was, now: await connection() };
}

async function stillThere(before) {
  await until("all are active", async () => (await people()).every(({ state }) => state === "active"));
  assert.deepEqual(await people(), before);
  await until("both tiles, where they were", () => bothTiles(blue.page));
  const [level] = await listen(blue.page, [tone.red], 3);
  assert.ok(level > -50, `the tone of who moved at ${level.toFixed(1)} dB`);
  assert.deepEqual(red.page.complaints.filter((c) => !/Failed to load resource|net::/.test(c)), []);
}

test("on another network ICE begins anew, and the call goes on", async (t) => {
  const before = await people();
  for (let round = 0; round < 2; round++) {
    const { took, was, now } = await moves((was, now) => now.theirs !== was.theirs && /connected|completed/.test(now.path));
    assert.equal(now.n, was.n, "it is the same connection");
    t.diagnostic(`it hears and sees after ${took.toFixed(0)} ms`);
    assert.ok(took < 3000, `it hears and sees after ${took.toFixed(0)} ms`);
  }
  await stillThere(before);
});

test("when that cannot be asked for, the page comes back as who it was", async () => {
  const before = await people();
  await red.page.route("**/v1/sessions/*", (route) => (route.request().method() === "PATCH" ? route.abort() : route.continue()));
  const { was, now } = await moves((was, now) => now.n > was.n && /connected|completed/.test(now.path));
  assert.equal(now.n, was.n + 1);
  await red.page.unroute("**/v1/sessions/*");
  await stillThere(before);
  assert.equal(await red.page.textContent("#link-state"), "");
});

test("a server that checks paths itself is told where the page is", async () => {
  const other = await startServer("--no-ice-lite");
  try {
    const answers = [];
    const note = (response) => response.request().method() === "PATCH" && answers.push(response.status());
    blue.page.on("response", note);
    await join(blue.page, other.url, "checks", "Blau");
    await until("candidates to be taken", () => answers.includes(204));
    await until("the call", async () => (await blue.page.textContent("#link-state")) === "");
    await blue.page.evaluate(() => window.dispatchEvent(new Event("online")));
    await until("another session", () => answers.includes(200));
    await until("its candidates", () => answers.filter((status) => status === 204).length > 1);
    assert.deepEqual(answers.filter((status) => status !== 200 && status !== 204), []);
    blue.page.off("response", note);
  } finally {
    await other.stop();
  }
  await join(blue.page, server.url, "networks", "Blau");
});

test("who was removed does not come back", async () => {
  const { id } = (await people()).find(({ name }) => name === "Rosa");
  await fetch(`${server.url}/v1/rooms/networks/participants/${id}`, { method: "DELETE" });
  await red.page.waitForSelector("#lobby:not([hidden])");
  assert.match(await red.page.textContent("#message"), /removed/);
  assert.equal((await people()).length, 1);
});
