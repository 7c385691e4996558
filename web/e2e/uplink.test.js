// A sender sends what its tile can show: less when many are there, more as soon
// as its tile grows, nothing while nobody sees it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";
import { clips, join, root, startBrowser, startServer, until } from "./harness.js";

// A tile that grows has its pixels within this time; loaded machines get more,
// and the time itself is printed.
const grows = 1500;
const patience = 6000;

let server, ann, bob;
const crowd = [];

/** A page whose camera gives 1280x720, and whose connections can be looked into. */
async function open() {
  const opened = await startBrowser("pattern");
  await opened.page.addInitScript(() => {
    const Original = window.RTCPeerConnection;
    window.connections = [];
    window.RTCPeerConnection = class extends Original {
      constructor(...how) {
        super(...how);
        window.connections.push(this);
      }
    };
    // A shared screen whose size is known.
    navigator.mediaDevices.getDisplayMedia = async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 1600, height: 900 });
      const context = canvas.getContext("2d");
      setInterval(() => {
        context.fillStyle = `hsl(${performance.now() / 20} 50% 50%)`;
        context.fillRect(0, 0, 1600, 900);
      }, 30);
      return canvas.captureStream(30);
    };
  });
  return opened;
}

/** What the latest connection sends on its n-th line of pictures. */
function sends({ page }, n = 0) {
  return page.evaluate(async (n) => {
    const pc = window.connections.at(-1);
    const { sender } = pc.getTransceivers().filter((t) => t.receiver.track.kind === "video")[n];
    const stats = [...(await sender.getStats()).values()].find((s) => s.type === "outbound-rtp") ?? {};
    const { frameWidth, frameHeight, framesPerSecond, framesSent, active, qualityLimitationReason } = stats;
    return { frameWidth, frameHeight, framesPerSecond, framesSent, active, limited: qualityLimitationReason };
  }, n);
}

const size = async (who, rows, n) => until(`${rows} rows`, async () => {
  const s = await sends(who, n);
  return { ...s, ok: s.frameHeight === rows };
}, 40);

const layout = async (spec) => {
  const response = await fetch(`${server.url}/v1/rooms/uplink/layout`, {
    method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(spec),
  });
  assert.equal(response.status, 200, await response.text());
};

const idOf = async (name) => {
  const { items } = await (await fetch(`${server.url}/v1/rooms/uplink/participants`)).json();
  return items.find((p) => p.name === name).id;
};

/** How long after the layout was changed the sender's pictures have that many rows. */
async function growth(who, rows, spec) {
  await layout(spec);
  const begin = Date.now();
  for (;;) {
    const s = await sends(who);
    const took = Date.now() - begin;
    if (s.frameHeight >= rows) return took;
    if (took > patience) assert.fail(`${rows} rows: not within ${patience} ms, but ${JSON.stringify(s)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

before(async () => {
  server = await startServer();
  [ann, bob] = await Promise.all([open(), open()]);
});

after(async () => {
  for (const one of crowd) one.kill("SIGTERM");
  await Promise.all([ann?.browser.close(), bob?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

test("two in a room send half the canvas each", async () => {
  await join(ann.page, server.url, "uplink", "Ann");
  await join(bob.page, server.url, "uplink", "Bob");
  for (const who of [ann, bob]) {
    const s = await size(who, 360);
    assert.equal(s.frameWidth, 640);
  }
});

test("nine send a ninth each", async () => {
  for (let i = 1; i <= 7; i++) {
    crowd.push(spawn(path.join(root, "bin/mixdown"),
      ["join", `${server.url}/r/uplink`, "--name", `Crowd ${i}`, "--play", path.join(clips, `video-0${i}.ivf`), "--quiet"], { stdio: "ignore" }));
  }
  for (const who of [ann, bob]) {
    const s = await size(who, 240);
    assert.equal(s.frameWidth, 426);
  }
  await until("everybody's picture", async () => {
    const { shown } = await (await fetch(`${server.url}/v1/rooms/uplink/layout`)).json();
    return shown.length === 9;
  });
});

test("whose tile grows has his pixels soon; who is not seen sends nothing", async () => {
  const [a, b] = [await idOf("Ann"), await idOf("Bob")];
  // A sender is asked for another size once in two seconds, and has just been.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const took = [await growth(ann, 720, { mode: "single", pins: [a] })];
  await until("Bob's pause", async () => {
    const [first, , second] = [await sends(bob), await new Promise((resolve) => setTimeout(resolve, 700)), await sends(bob)];
    return { first, second, ok: first.framesSent === second.framesSent };
  }, 30);
  took.push(await growth(bob, 720, { mode: "single", pins: [b] }));
  console.log(`    a tile that grew had its pixels after ${took.join(" and ")} ms; wanted: ${grows}`);
  await layout({ mode: "grid" });
  await size(bob, 240);
});

test("a shared screen keeps its size, and another camera its limit", async () => {
  await bob.page.click("#screen");
  const s = await size(bob, 900, 1);
  await until("15 pictures a second", async () => {
    const now = await sends(bob, 1);
    return { ...now, ok: now.framesPerSecond > 0 && now.framesPerSecond <= 16 };
  });
  assert.equal(s.frameWidth, 1600);
  await bob.page.click("#screen");
  // The camera's track is exchanged; the limit is the sender's.
  await bob.page.evaluate(async () => {
    const { sender } = window.connections.at(-1).getTransceivers().filter((t) => t.receiver.track.kind === "video")[0];
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
    await sender.replaceTrack(stream.getVideoTracks()[0]);
  });
  await size(bob, 240);
});

test("who leaves and comes back begins with what is wanted", async () => {
  await bob.page.click("#leave");
  await bob.page.click("#join");
  await bob.page.waitForSelector("#call:not([hidden])");
  await size(bob, 240);
});

test("no page complained", () => {
  assert.deepEqual([...ann.page.complaints, ...bob.page.complaints], []);
});
