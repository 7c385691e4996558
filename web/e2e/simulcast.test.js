// A browser that offers its picture in three sizes (simulcast, RFC 8853) is asked
// for one, sends one, and the server takes it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startBrowser, startServer, until } from "./harness.js";

let server, sender;

before(async () => {
  server = await startServer();
  sender = await startBrowser("pattern");
  await sender.page.goto(server.url);
});

after(async () => {
  await sender?.browser.close();
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

test("of three sizes one is answered, the largest", async () => {
  const answer = await sender.page.evaluate(async () => {
    const pc = window.sender = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720 } });
    pc.addTransceiver(stream.getVideoTracks()[0], {
      direction: "sendonly",
      sendEncodings: [{ rid: "q", scaleResolutionDownBy: 4 }, { rid: "h", scaleResolutionDownBy: 2 }, { rid: "f" }],
    });
    await pc.setLocalDescription();
    const response = await fetch("/whip/sizes", {
      method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription.sdp,
    });
    const sdp = await response.text();
    await pc.setRemoteDescription({ type: "answer", sdp });
    return { status: response.status, rids: sdp.match(/^a=rid:\S+ \w+/gm), simulcast: sdp.match(/^a=simulcast:\w+ \S+/gm) };
  });
  assert.deepEqual(answer, { status: 201, rids: ["a=rid:f recv"], simulcast: ["a=simulcast:recv f"] });
});

test("that one is sent, and comes in whole", async () => {
  await until("the largest, and no other", () => sender.page.evaluate(async () => {
    const stats = [...(await window.sender.getStats()).values()].filter((s) => s.type === "outbound-rtp");
    const seen = stats.map(({ rid, frameHeight, framesSent }) => ({ rid, frameHeight, framesSent }));
    const sent = seen.filter((s) => s.framesSent > 30);
    return { seen, ok: sent.length === 1 && sent[0].frameHeight >= 360 };
  }));
  const count = async (name) => Number(new RegExp(`^${name} (\\S+)`, "m").exec(await server.metrics())?.[1]);
  const before = await count("mixdown_rtp_video_frames_total");
  await until("pictures at the server", async () => {
    const more = await count("mixdown_rtp_video_frames_total") - before;
    return { more, ok: more > 30 };
  });
  assert.ok(await count("mixdown_rtp_unknown_total") < 10, "packets of another size came");
});
