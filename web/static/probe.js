// Connections that find out something: by which ways the server is reached, and
// whether sound and pictures come back from it.

import { refusal } from "./problems.js";
import { send } from "./token.js";

// A way that works is found within a second or two, or not at all.
const patience = 5000;

// Every loudspeaker and every codec has this one.
const toneHz = 1000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until check() is true, at most so long in milliseconds; says whether it was. */
async function until(check, ms) {
  for (const end = performance.now() + ms; ;) {
    if (await check()) return true;
    if (performance.now() > end) return false;
    await pause(20);
  }
}

const protocolOf = (line) => /^a=candidate:\S+ \d+ (\S+) /.exec(line)?.[1].toLowerCase();

/** A description with those candidates only for whose protocol ("udp", "tcp") keep is true. */
function filtered(sdp, keep) {
  return sdp.split("\r\n").filter((line) => !line.startsWith("a=candidate:") || keep(protocolOf(line))).join("\r\n");
}

/** One connection to the server, from the offer to close(). */
class Connection {
  #url = "";

  constructor(configuration = {}) {
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", ...configuration });
  }

  /** Posts the offer, without its own candidates; keep says which of the server's are used. Says whether there were any. */
  async open(path, keep) {
    await this.pc.setLocalDescription();
    const response = await send(path, {
      method: "POST", headers: { "Content-Type": "application/sdp" }, body: filtered(this.pc.localDescription.sdp, () => false),
    });
    if (response.status !== 201) throw await refusal(response);
    this.#url = response.headers.get("Location");
    const sdp = filtered(await response.text(), keep);
    await this.pc.setRemoteDescription({ type: "answer", sdp });
    return /^a=candidate:/m.test(sdp);
  }

  connected() { return until(() => this.pc.connectionState === "connected", patience); }

  async close() {
    if (this.#url) await fetch(this.#url, { method: "DELETE" }).catch(() => {}); // the secret in it suffices
    this.pc.close();
  }
}

/**
 * Tries one way to the server: protocol is "udp" or "tcp"; relays are the ICE servers
 * of a TURN server, with which that protocol is spoken. Returns {offered, connected,
 * rttMs}; throws what refusal makes when the server refuses.
 */
export async function reach(room, protocol, relays = null) {
  const connection = new Connection(relays ? { iceServers: relays, iceTransportPolicy: "relay" } : {});
  const { pc } = connection;
  try {
    pc.addTransceiver("audio", { direction: "recvonly" });
    // A relay speaks UDP with the server, whatever it speaks with the browser.
    const offered = await connection.open(`/whep/${encodeURIComponent(room)}`, (p) => p === (relays ? "udp" : protocol));
    if (!offered) return { offered: false };
    if (!await connection.connected()) return { offered: true, connected: false };
    let pair;
    await until(async () => {
      const stats = await pc.getStats();
      const transport = [...stats.values()].find((s) => s.type === "transport");
      pair = stats.get(transport?.selectedCandidatePairId) ?? [...stats.values()].find((s) => s.type === "candidate-pair" && s.selected);
      return pair?.currentRoundTripTime !== undefined;
    }, 2000);
    return { offered: true, connected: true, rttMs: Math.round((pair?.currentRoundTripTime ?? 0) * 1000) };
  } finally {
    await connection.close();
  }
}

/**
 * The way there and back: one connection that sends into a room, and one that
 * receives from it. Close it.
 */
export class Loop {
  #there = new Connection(); #back = new Connection(); #context; #source; #oscillator; #gain; #tone;

  /** What comes back. */
  stream = new MediaStream();

  /** context is an AudioContext that a click has started. */
  constructor(context) {
    this.#context = context;
    this.#gain = new GainNode(context, { gain: 0 });
    this.#oscillator = new OscillatorNode(context, { frequency: toneHz });
    this.#tone = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    this.#oscillator.connect(this.#gain).connect(this.#tone);
    this.#oscillator.start();
  }

  /** Sends a camera's track, or none, and a tone that is off. Says whether both ways are there. */
  async open(room, camera) {
    this.#there.pc.addTransceiver(this.#tone.stream.getAudioTracks()[0], { direction: "sendonly" });
    if (camera) this.#there.pc.addTransceiver(camera, { direction: "sendonly", sendEncodings: [{ scaleResolutionDownBy: 2 }] });
    for (const kind of ["audio", "video"]) this.#back.pc.addTransceiver(kind, { direction: "recvonly" });
    this.#back.pc.ontrack = ({ track }) => this.stream.addTrack(track);
    const any = () => true;
    await this.#there.open(`/whip/${encodeURIComponent(room)}`, any);
    await this.#back.open(`/whep/${encodeURIComponent(room)}`, any);
    return (await Promise.all([this.#there.connected(), this.#back.connected()])).every(Boolean);
  }

  /** Waits for pictures; returns {width, height, codec}, or null when none come. */
  async pictures() {
    let found = null;
    await until(async () => {
      const stats = await this.#back.pc.getStats();
      const video = [...stats.values()].find((s) => s.type === "inbound-rtp" && s.kind === "video");
      if (!(video?.framesDecoded >= 5)) return false;
      found = { width: video.frameWidth, height: video.frameHeight, codec: stats.get(video.codecId)?.mimeType.replace("video/", "") ?? "" };
      return true;
    }, patience);
    return found;
  }

  /**
   * Sends a few beeps and waits for each; returns how long they took, in
   * milliseconds: the middle one of those that came back, or NaN for none.
   */
  async beeps() {
    const analyser = new AnalyserNode(this.#context, { fftSize: 1024, smoothingTimeConstant: 0 });
    this.#source = this.#context.createMediaStreamSource(new MediaStream(this.stream.getAudioTracks()));
    this.#source.connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    const bin = Math.round(toneHz / (this.#context.sampleRate / analyser.fftSize));
    const heard = () => {
      analyser.getFloatFrequencyData(bins);
      return bins[bin] > -50;
    };
    const took = [];
    for (let n = 0; n < 5; n++) {
      const began = performance.now();
      this.#gain.gain.value = 0.25;
      if (await until(heard, 2000)) took.push(performance.now() - began);
      this.#gain.gain.value = 0;
      await until(() => !heard(), 2000);
      await pause(100);
    }
    this.#source.disconnect();
    took.sort((a, b) => a - b);
    return took.length ? took[Math.floor(took.length / 2)] : NaN;
  }

  /** Sends a microphone's track from now on, or, for null, silence. */
  speak(track) {
    const [audio] = this.#there.pc.getSenders();
    return audio.replaceTrack(track ?? this.#tone.stream.getAudioTracks()[0]);
  }

  /** Sends another camera's track from now on. */
  show(track) { return this.#there.pc.getSenders()[1]?.replaceTrack(track); }

  async close() {
    this.#oscillator.stop();
    await Promise.all([this.#there.close(), this.#back.close()]);
  }
}
