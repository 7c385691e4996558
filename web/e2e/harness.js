// What the browser tests share: a real server on a free port, and Chromium
// with a camera and a microphone made of real clips.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const clips = path.join(root, ".cache/clips");
export const shots = path.join(root, ".cache/e2e");

function need(file, target) {
  if (!existsSync(file)) throw new Error(`${file} is missing: run \`make ${target}\` first`);
  return file;
}

/** Starts bin/mixdown; returns {url, stop, kill}. flags are further ones of `serve`. */
export async function startServer(...flags) {
  const data = mkdtempSync(path.join(tmpdir(), "mixdown-e2e-"));
  const program = process.env.MIXDOWN ?? need(path.join(root, "bin/mixdown"), "build");
  const child = spawn(program,
    ["serve", "--http", "127.0.0.1:0", "--media", ":0", "--admin", "127.0.0.1:0", "--data", data,
      // Browsers, tests and server share a machine; none of the tests is about too little of it.
      "--no-limit", ...flags],
    { stdio: ["ignore", "pipe", "pipe"] });
  const log = [];
  child.stderr.on("data", (chunk) => log.push(chunk));
  const exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const url = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said = /^listening on (https?:\S+)/.exec(line);
      if (said) resolve(said[1]);
    });
    exited.then((code) => reject(new Error(`the server ended with ${code}:\n${Buffer.concat(log)}`)));
  });
  return {
    url,
    program,
    log: () => Buffer.concat(log).toString(),
    /** What the server says of itself, as Prometheus reads it. */
    async metrics() {
      const [, admin] = /msg=serving .*admin=(\S+)/.exec(Buffer.concat(log));
      return (await fetch(`http://${admin}/metrics`)).text();
    },
    /** Ends it as a crash does. */
    async kill() {
      child.kill("SIGKILL");
      await exited;
      rmSync(data, { recursive: true, force: true });
    },
    async stop() {
      child.kill("SIGTERM");
      const code = await exited;
      rmSync(data, { recursive: true, force: true });
      return code;
    },
  };
}

/** An address of this machine that is not loopback; media sockets have it too. */
export function ownAddress() {
  const found = Object.values(networkInterfaces()).flat().find((a) => a.family === "IPv4" && !a.internal);
  if (!found) throw new Error("this machine has no address but loopback: browsers do not connect");
  return found.address;
}

/** A native client that sends a film and a tone of 520 Hz into a room until close(). */
export function startMember(server, room) {
  const child = spawn(server.program, ["join", `${server.url}/r/${room}`, "--quiet", "--name", "Film", "--tone", "520",
    "--play", need(path.join(clips, "video-01.ivf"), "clips")], { stdio: ["ignore", "ignore", "inherit"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  return {
    async close() {
      child.kill("SIGINT");
      await exited;
    },
  };
}

/**
 * A Chromium of its own, whose camera shows clip.y4m and whose microphone
 * plays the tone of clip-tone.wav. "pattern" is the browser's own moving
 * pattern of any size, and its beeps, from two cameras and two microphones. Without a clip it has no devices at all.
 */
export async function startBrowser(clip, { permissions = ["camera", "microphone"] } = {}) {
  const devices = clip === "pattern" ? ["--use-fake-device-for-media-stream=fps=30,device-count=2"] : clip ? [
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-video-capture=${need(path.join(clips, `${clip}.y4m`), "clips")}`,
    `--use-file-for-fake-audio-capture=${need(path.join(clips, `${clip}-tone.wav`), "clips")}`,
  ] : [];
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", ...devices],
  });
  const context = await browser.newContext({ permissions, viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  // A steady tone is noise to the browser's own clean-up, which would remove
  // just what the tests listen for.
  await page.addInitScript(() => {
    const devices = navigator.mediaDevices;
    const open = devices?.getUserMedia.bind(devices);
    if (open) {
      devices.getUserMedia = (want) => open(want.audio
        ? { ...want, audio: { ...want.audio, echoCancellation: false, noiseSuppression: false, autoGainControl: false } }
        : want);
    }
  });
  return { browser, page };
}

/** Fills in the lobby and joins. */
export async function join(page, url, room, name) {
  await page.goto(`${url}/r/${room}`);
  await page.waitForFunction(() => document.getElementById("camera").options.length > 0);
  await page.fill("#name", name);
  await page.click("#join");
  await page.waitForSelector("#call:not([hidden])");
}

/** Waits until check() returns something true, and returns that. */
export async function until(what, check, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    last = await check();
    if (last === true || (last && last.ok)) return last;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s; last seen: ${JSON.stringify(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/**
 * Reads the mix as the page shows it: mean colour of each of the rectangles,
 * given in fractions of the picture, and the picture's size.
 */
export function readTiles(page, rects) {
  return page.evaluate((rects) => {
    const video = document.getElementById("mix");
    const { videoWidth: width, videoHeight: height } = video;
    if (!width) return { width, height, tiles: [] };
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0);
    const tiles = rects.map(([x, y, w, h]) => {
      const { data } = context.getImageData(x * width, y * height, w * width, h * height);
      const sum = [0, 0, 0];
      for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += data[i + c];
      const [r, g, b] = sum.map((s) => Math.round(s / (data.length / 4)));
      return { r, g, b };
    });
    return { width, height, tiles };
  }, rects);
}

/**
 * Listens to the mix for some seconds. Returns, for each frequency in Hz, the
 * loudest level in dB that its FFT bin reached, and the floor between them.
 */
export function listen(page, frequencies, seconds) {
  return page.evaluate(async ([frequencies, seconds]) => {
    const context = new AudioContext({ sampleRate: 48000 });
    await context.resume();
    const analyser = new AnalyserNode(context, { fftSize: 16384, smoothingTimeConstant: 0, minDecibels: -140 });
    const stream = document.getElementById("mix").srcObject;
    context.createMediaStreamSource(new MediaStream(stream.getAudioTracks())).connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    const loudest = frequencies.map(() => -Infinity);
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      analyser.getFloatFrequencyData(bins);
      frequencies.forEach((f, i) => {
        const bin = Math.round(f / (context.sampleRate / analyser.fftSize));
        loudest[i] = Math.max(loudest[i], ...bins.slice(bin - 2, bin + 3));
      });
    }
    await context.close();
    return loudest;
  }, [frequencies, seconds]);
}
