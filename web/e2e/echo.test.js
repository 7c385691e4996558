// Somebody whose loudspeaker is open: the page tells him, and the others do not
// hear themselves.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";
import { clips, join, root, startBrowser, startServer, until } from "./harness.js";

let server, open, talker;

before(async () => {
  server = await startServer();
  open = await startBrowser();
  // A microphone that hears nothing but the loudspeaker, 150 ms late.
  await open.page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = async (want) => {
      if (!want.audio) throw new DOMException("no camera", "NotFoundError");
      const context = new AudioContext({ sampleRate: 48000 });
      await context.resume();
      const air = new DelayNode(context, { delayTime: 0.15 });
      const microphone = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
      air.connect(new GainNode(context, { gain: 0.3 })).connect(microphone);
      window.loudspeaker = (stream) => context.createMediaStreamSource(new MediaStream(stream.getAudioTracks())).connect(air);
      return microphone.stream;
    };
  });
  await join(open.page, server.url, "echo", "Open");
  await until("sound", () => open.page.evaluate(() => document.getElementById("mix").srcObject?.getAudioTracks().length > 0));
  await open.page.evaluate(() => window.loudspeaker(document.getElementById("mix").srcObject));
  talker = spawn(path.join(root, "bin/mixdown"),
    ["join", `${server.url}/r/echo`, "--audio", path.join(clips, "speech-05.ogg"), "--for", "60s"], { stdio: "ignore" });
});

after(async () => {
  talker?.kill("SIGTERM");
  await open?.browser.close();
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

test("the page says that the loudspeaker is heard", async () => {
  assert.equal(await open.page.isVisible("#message"), false);
  await until("the advice", async () => {
    const said = await open.page.textContent("#message");
    return { said, ok: /headphones/.test(said) };
  }, 40);
  const { items } = await (await fetch(`${server.url}/v1/rooms/echo/participants`)).json();
  const echo = items.find((p) => p.name === "Open").status.echo;
  assert.equal(echo, true);
});
