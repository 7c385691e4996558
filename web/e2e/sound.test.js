// What a real browser makes of the answer: it sends speech with redundancy
// (RFC 2198) and in silence next to nothing (DTX).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startBrowser, startServer, until } from "./harness.js";

let server, talker;

before(async () => {
  server = await startServer();
  talker = await startBrowser();
  const { page } = talker;
  await page.goto(server.url);
  // A sound of our own making can be switched off to the last bit.
  await page.evaluate(async () => {
    const context = new AudioContext({ sampleRate: 48000 });
    await context.resume();
    const voice = new OscillatorNode(context, { type: "sawtooth", frequency: 220 });
    const volume = new GainNode(context, { gain: 0.2 });
    const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    voice.connect(volume).connect(out);
    voice.start();
    const pc = new RTCPeerConnection();
    const sender = pc.addTrack(out.stream.getAudioTracks()[0], out.stream);
    await pc.setLocalDescription();
    const response = await fetch("/v1/rooms/sound/participants", {
      method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription.sdp,
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(answer);
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    Object.assign(window, { pc, volume });
    // Packets and kilobits of payload per second.
    window.measure = async (seconds) => {
      const read = async () => [...(await sender.getStats()).values()].find((s) => s.type === "outbound-rtp");
      const first = await read();
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      const last = await read();
      const time = (last.timestamp - first.timestamp) / 1000;
      return {
        packets: (last.packetsSent - first.packetsSent) / time,
        kbps: (last.bytesSent - first.bytesSent) * 8 / 1000 / time,
      };
    };
    window.codecs = () => sender.getParameters().codecs.map((c) => c.mimeType);
  });
  await until("connected", () => page.evaluate(() => window.pc.connectionState === "connected"));
});

after(async () => {
  await talker?.browser.close();
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

test("speech comes with redundancy", async () => {
  assert.deepEqual(await talker.page.evaluate(() => window.codecs()), ["audio/red", "audio/opus"]);
  // getStats calls it Opus whatever is around it: the bytes tell. Alone, Opus
  // is 32 kb/s here.
  await until("everything twice", async () => {
    const sent = await talker.page.evaluate(() => window.measure(2));
    return { ...sent, ok: sent.kbps > 50 && sent.packets > 40 };
  });
});

test("silence is not sent", async () => {
  await talker.page.evaluate(() => { window.volume.gain.value = 0; });
  const sent = await until("few packets", async () => {
    const sent = await talker.page.evaluate(() => window.measure(3));
    return { ...sent, ok: sent.packets < 15 };
  });
  assert.ok(sent.packets > 0, "the background is refreshed");
  await talker.page.evaluate(() => { window.volume.gain.value = 0.2; });
  await until("speech again", async () => {
    const sent = await talker.page.evaluate(() => window.measure(1));
    return { ...sent, ok: sent.packets > 40 };
  });
});
