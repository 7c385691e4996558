// Real clients of every kind, as participants, publishers and viewers, on every
// kind of path, with every codec: what comes out at the other end is looked at.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, hangUp, look } from "./calls.js";
import { startFirefox } from "./firefox.js";
import { startGStreamer } from "./gstreamer.js";
import { join, listen, ownAddress, readTiles, startBrowser, startMember, startServer, until } from "./harness.js";
import { view } from "./node.js";

// The film's member talks and shows a film, in a room for each kind of client.
const rooms = ["chromium", "firefox", "gstreamer", "node"];
const pages = {};
const open = [];
let server;

before(async () => {
  // Debian's OpenH264 has had its hole mended, but says so nowhere.
  // Firefox takes no TURN server that has 127.0.0.1.
  server = await startServer("--turn", ":0", "--turn-host", ownAddress(), "--openh264-trusted");
  open.push(...rooms.map((room) => startMember(server, room)));
  const [chromium, firefox] = await Promise.all([startBrowser("red"), startFirefox({ tone: 700 })]);
  open.push(chromium.browser, firefox.browser);
  Object.assign(pages, { chromium: chromium.page, firefox: firefox.page });
  await Promise.all(Object.values(pages).map((page) => page.goto(server.url)));
});

after(async () => {
  await Promise.all(open.map((one) => one.close()));
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

// Sound is no silence above this power (of 1), and pictures move above this rate:
// 30 are sent, but the machine has to code and decode all of this at once.
const audible = 1e-5;
const moving = 20;

/**
 * Waits until a page's call gets sound and moving pictures, as far as it is to:
 * at a rate of pictures per second, for some seconds.
 */
async function media(page, number, { audio = true, video = true } = {}, rate = moving, seconds = 1) {
  const looks = [];
  return until("sound and pictures", async () => {
    const now = await look(page, number);
    looks.push(now);
    while (looks.length > 1 && now.at - looks[1].at >= seconds) looks.shift();
    const [then] = looks;
    const span = now.at - then.at;
    const seen = { ...now, rate: (now.pictures - then.pictures) / span, power: (now.energy - then.energy) / span };
    return { ...seen, ok: span >= seconds && (!video || seen.rate >= rate) && (!audio || seen.power > audible) };
  });
}

/** What the server says of a participant: ok when it hears him, and sees him. */
async function taken(participant, { video = true, codec = "VP8" } = {}) {
  return until("the server takes it", async () => {
    const { send, status, receive } = await (await fetch(server.url + participant)).json();
    return { send, status, receive, ok: status.speaking && (!video || send.video?.codec === codec) };
  });
}

// sent and got are the codecs, of pictures that are sent and that come.
const both = { audio: "sendrecv", video: "sendrecv", sent: "video/VP8", got: "video/VP8" };
const calls = {
  "as it likes": both,
  "VP8 only": { ...both, codec: "video/VP8" },
  "H.264 only": { ...both, codec: "video/H264", sent: "video/H264", got: "video/H264", not: ["firefox"] },
  "sound only": { audio: "sendrecv", video: "" },
  "no devices": { audio: "recvonly", video: "recvonly", got: "video/VP8" },
  "UDP only": { ...both, candidates: "udp", protocol: "udp" },
  "TCP only": { ...both, candidates: "tcp", protocol: "tcp" },
  "TURN over UDP only": { ...both, ice: "transport=udp", relay: "udp" },
  "TURN over TCP only": { ...both, ice: "transport=tcp", relay: "tcp", rate: 25, seconds: 3 },
};

for (const name of ["chromium", "firefox"]) {
  for (const [what, { sent, got, protocol, relay, rate, seconds, not, ...options }] of Object.entries(calls)) {
    // Firefox has H.264 by a plugin that it downloads.
    if (not?.includes(name)) continue;
    test(`${name}, sendrecv, ${what}`, async () => {
      const page = pages[name];
      const { status, number, participant } = await call(page, { ...options, path: `/v1/rooms/${name}/participants` });
      assert.equal(status, 201);
      const seen = await media(page, number, options, rate, seconds);
      assert.equal(seen.codec, got);
      assert.equal(seen.sentCodec, sent);
      if (protocol) assert.equal(seen.protocol, protocol);
      if (relay) assert.equal(seen.relay, relay);
      if (options.audio === "sendrecv") await taken(participant, { video: Boolean(sent), codec: sent?.replace("video/", "") });
      await hangUp(page, number);
    });
  }

  for (const codec of ["video/VP8", "video/H264"]) {
    if (codec === "video/H264" && name === "firefox") continue;
    test(`${name}, WHIP and WHEP, ${codec}`, async () => {
      const page = pages[name];
      const room = `${name}-${codec.slice(6)}`;
      const publisher = await call(page, { path: `/whip/${room}`, audio: "sendonly", video: "sendonly", codec });
      const viewer = await call(page, { path: `/whep/${room}`, audio: "recvonly", video: "recvonly", codec });
      assert.deepEqual([publisher.status, viewer.status], [201, 201]);
      const seen = await media(page, viewer.number); // nobody else is there
      assert.equal(seen.codec, codec);
      const { sentCodec, pictures } = await look(page, publisher.number);
      assert.deepEqual({ sentCodec, pictures }, { sentCodec: codec, pictures: 0 });
      await hangUp(page, viewer.number);
      await hangUp(page, publisher.number);
    });
  }
}

for (const codec of ["vp8", "h264"]) {
  for (const door of ["participants", "whep"]) {
    test(`GStreamer's webrtcbin, ${door}, ${codec}`, async () => {
      const client = startGStreamer(`${server.url}/${door === "whep" ? "whep/gstreamer" : "v1/rooms/gstreamer/participants"}`, door, codec);
      await until("sound and pictures", () => {
        const seen = client.seen();
        return { ...seen, ok: seen.pictures >= moving && seen.sound > 40 && seen.loudestDB > -50 && (door === "whep" || seen.sentPictures >= moving) };
      });
      await client.stop();
    });
  }

  test(`GStreamer's webrtcbin, WHIP, ${codec}`, async () => {
    const client = startGStreamer(`${server.url}/whip/gstreamer-${codec}`, "whip", codec);
    const page = pages.chromium;
    const { number } = await call(page, { path: `/whep/gstreamer-${codec}`, audio: "recvonly", video: "recvonly" });
    await media(page, number); // nobody else is there
    await hangUp(page, number);
    assert.equal(client.seen().pictures ?? 0, 0);
    await client.stop();
  });
}

test("Node's werift, WHEP", async (t) => {
  const viewer = await view(`${server.url}/whep/node`);
  let left;
  t.after(() => left ?? viewer.leave()); // or its sockets keep the process
  const { seen } = viewer;
  await until("a key frame", () => seen.keys > 0 || seen);
  const start = { at: performance.now(), ...seen };
  await until("two seconds of media", () => performance.now() > start.at + 2000);
  const seconds = (performance.now() - start.at) / 1000;
  // All of it is JavaScript, decryption too: on a busy machine it is late to count.
  assert.ok((seen.pictures - start.pictures) / seconds >= moving / 2 && (seen.sound - start.sound) / seconds > 40, JSON.stringify({ start, seen, seconds }));
  left = viewer.leave();
  assert.equal(await left, 200);
});

test("our own page, in Firefox and in Chromium", async () => {
  const { chromium, firefox } = pages;
  await join(chromium, server.url, "pages", "Chromium");
  await join(firefox, server.url, "pages", "Firefox");
  await until("Chromium's red tile in Firefox", async () => {
    const { width, height, tiles: [left] } = await readTiles(firefox, [[0.15, 0.4, 0.2, 0.2]]);
    return { width, height, left, ok: width * 9 === height * 16 && left?.r > left?.b + 25 };
  });
  await until("Firefox's tone in Chromium", async () => {
    const [tone] = await listen(chromium, [700], 1);
    return { tone, ok: tone > -50 };
  });
  await until("two heads", async () => (await firefox.textContent("#people")) === "2 people");
  await firefox.click("#leave");
  await until("one head", async () => (await chromium.textContent("#people")) === "Only you are here");
});

test("no page complained", () => {
  assert.deepEqual(Object.values(pages).flatMap(({ complaints }) => complaints), []);
});
