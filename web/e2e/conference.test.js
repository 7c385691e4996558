// Two browsers in one room: each sees both tiles, hears the other and not
// itself, and the recording holds both.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { join, listen, readTiles, shots, startBrowser, startServer, until } from "./harness.js";

// red-tone.wav and blue-tone.wav are these tones: speech would have power at both.
const tone = { red: 520, blue: 1130 };
// The middles of the two tiles of a room of two, away from the labels.
const middles = [[0.15, 0.4, 0.2, 0.2], [0.65, 0.4, 0.2, 0.2]];

let server, red, blue;

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer();
  [red, blue] = await Promise.all([startBrowser("red"), startBrowser("blue")]);
});

after(async () => {
  await Promise.all([red?.browser.close(), blue?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

/** How the two tiles look: ok when the first is reddish and the second bluish. */
async function bothTiles(page) {
  const seen = await readTiles(page, middles);
  const [left, right] = seen.tiles;
  return { ...seen, ok: Boolean(left) && left.r > left.b + 25 && right.b > right.r + 25 };
}

test("each page shows both tiles of one 16:9 picture", async () => {
  await join(red.page, server.url, "e2e", "Rosa Röt");
  await join(blue.page, server.url, "e2e", "김철수");
  for (const { page } of [red, blue]) {
    const seen = await until("both tiles", () => bothTiles(page));
    assert.equal(seen.width * 9, seen.height * 16, `${seen.width}x${seen.height}`);
  }
  await red.page.screenshot({ path: path.join(shots, "call.png") });
  await until("the head count", async () => (await red.page.textContent("#people")) === "2 people");
});

test("the picture keeps moving at the canvas's rate", async () => {
  const frames = () => red.page.evaluate(() => document.getElementById("mix").getVideoPlaybackQuality().totalVideoFrames);
  const first = await frames();
  await until("150 more pictures", async () => (await frames()) - first >= 150, 15);
});

test("each hears the other's tone and not its own", async () => {
  for (const [{ page }, own, other] of [[red, tone.red, tone.blue], [blue, tone.blue, tone.red]]) {
    const [ownLevel, otherLevel] = await listen(page, [own, other], 5);
    assert.ok(otherLevel > -50, `the other's tone (${other} Hz) at ${otherLevel.toFixed(1)} dB`);
    assert.ok(ownLevel < otherLevel - 30, `the own tone (${own} Hz) at ${ownLevel.toFixed(1)} dB, the other's at ${otherLevel.toFixed(1)} dB`);
  }
});

test("the recording, started and stopped in the page, holds both", async () => {
  const started = Date.now();
  await red.page.click("#record");
  await until("everybody sees the mark", async () => !(await blue.page.isHidden("#rec")));
  await listen(red.page, [tone.red], 6); // six seconds that both spend talking
  await red.page.click("#record");
  const link = await red.page.waitForSelector("#message a");
  const seconds = (Date.now() - started) / 1000;
  const response = await fetch(new URL(await link.getAttribute("href"), server.url));
  assert.equal(response.status, 200);
  assert.match(response.headers.get("Content-Type"), /^video\/webm/);
  const file = path.join(shots, "mix.webm");
  writeFileSync(file, Buffer.from(await response.arrayBuffer()));

  const probe = JSON.parse(execFileSync("ffprobe", ["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", file]));
  const video = probe.streams.find((s) => s.codec_name === "vp8");
  const audio = probe.streams.find((s) => s.codec_name === "opus");
  assert.ok(video && audio, "one VP8 and one Opus stream");
  const duration = Number(probe.format.duration);
  assert.ok(duration > 5 && duration < seconds + 1, `${duration} s in the file, ${seconds} s between the clicks`);
  assert.ok(Number(video.nb_read_frames) >= 25 * duration, `${video.nb_read_frames} pictures decoded in ${duration} s`);

  // One decoded picture from the middle must show both tiles.
  const { width, height } = video;
  const picture = execFileSync("ffmpeg", ["-v", "error", "-ss", String(duration / 2), "-i", file, "-frames:v", "1",
    "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], { maxBuffer: 1 << 28 });
  const mean = ([x, y, w, h]) => {
    const sum = [0, 0, 0];
    let n = 0;
    for (let row = Math.round(y * height); row < Math.round((y + h) * height); row++) {
      for (let column = Math.round(x * width); column < Math.round((x + w) * width); column++, n++) {
        for (let c = 0; c < 3; c++) sum[c] += picture[(row * width + column) * 3 + c];
      }
    }
    return sum.map((s) => s / n);
  };
  const [left, right] = middles.map(mean);
  assert.ok(left[0] > left[2] + 25, `the first tile is red: ${left}`);
  assert.ok(right[2] > right[0] + 25, `the second tile is blue: ${right}`);

  // And both tones must be far above what lies beside them.
  const measured = { red: bandLevel(file, tone.red), blue: bandLevel(file, tone.blue), beside: bandLevel(file, 1700) };
  assert.ok(measured.red > measured.beside + 15, `520 Hz: ${JSON.stringify(measured)}`);
  assert.ok(measured.blue > measured.beside + 15, `1130 Hz: ${JSON.stringify(measured)}`);
});

/** The mean level of a narrow band of a file's sound, in dB. */
function bandLevel(file, frequency) {
  const band = `bandpass=f=${frequency}:width_type=h:w=10`;
  const run = spawnSync("ffmpeg", ["-hide_banner", "-nostats", "-i", file, "-vn", "-af", `${band},${band},volumedetect`, "-f", "null", "-"],
    { encoding: "utf8" });
  const found = /mean_volume: (-?[\d.]+) dB/.exec(run.stderr);
  assert.ok(found, run.stderr);
  return Number(found[1]);
}

test("mute silences, and unmute brings back", async () => {
  await blue.page.click("#mute");
  assert.equal(await blue.page.getAttribute("#mute", "aria-pressed"), "true");
  await until("silence", async () => (await listen(red.page, [tone.blue], 1))[0] < -70);
  await blue.page.click("#mute");
  await until("sound", async () => (await listen(red.page, [tone.blue], 1))[0] > -50);
});

test("who leaves is gone from the picture and from the room", async () => {
  await blue.page.click("#leave");
  await until("one person", async () => (await red.page.textContent("#people")) === "Only you are here", 10);
  const seen = await until("one large tile", async () => {
    const { tiles: [left, right] } = await readTiles(red.page, middles);
    return { left, right, ok: left.r > left.b + 25 && right.r > right.b + 25 };
  });
  assert.ok(seen.ok);
  assert.ok(await blue.page.isVisible("#lobby"));
});

test("no page complained", () => {
  assert.deepEqual([...red.page.complaints, ...blue.page.complaints], []);
});
