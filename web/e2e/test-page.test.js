// The page that tells what works.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { accessible } from "./axe.js";
import { ownAddress, shots, startBrowser, startServer, until } from "./harness.js";

let server, tester;

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer("--turn", ":0", "--turn-host", ownAddress());
  tester = await startBrowser("red");
});

after(async () => {
  await tester?.browser.close();
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

const results = (page) => page.$$eval("#results li", (items) =>
  Object.fromEntries(items.map((i) => [i.id.replace("result-", ""), i.dataset.state])));

async function run(page) {
  await page.click("#start");
  await until("all results", async () => {
    const seen = await results(page);
    return { seen, ok: await page.$eval("#results", (list) => list.dataset.done === "true") };
  }, 90);
}

test("all that is there works, and comes back", async () => {
  const { page } = tester;
  await page.goto(`${server.url}/test`);
  await accessible(page, "the test page, before");
  await run(page);
  assert.deepEqual(await results(page), {
    camera: "works", microphone: "works", server: "works", codecs: "works", udp: "works", tcp: "works",
    "turn-udp": "works", "turn-tcp": "works", "turn-tls": "none", echo: "works",
  }, await page.textContent("#results"));
  assert.equal(await page.textContent("#summary"), "All that a meeting needs works.");
  assert.match(await page.textContent("#result-echo"), /Sound came back after \d+ ms, the picture in VP8/);
  await accessible(page, "the test page, with results");
  await page.screenshot({ path: path.join(shots, "test.png"), fullPage: true });
  await page.click("#hear-self");
  assert.equal(await page.getAttribute("#hear-self", "aria-pressed"), "true");
  await page.selectOption("#language", "ko");
  assert.equal(await page.textContent("#summary"), "모임에 필요한 것이 모두 됩니다.");
  await page.setViewportSize({ width: 390, height: 844 });
  await accessible(page, "the test page on a phone");
  await page.screenshot({ path: path.join(shots, "test-phone-ko.png"), fullPage: true });
  assert.deepEqual(await page.evaluate(async () => [...(await import("/static/i18n.js")).missing]), []);
  assert.deepEqual(page.complaints, []);
});

test("it leaves nobody behind", async () => {
  await tester.page.goto("about:blank");
  await until("no participants", async () => {
    const { items } = await (await fetch(`${server.url}/v1/rooms`)).json();
    const n = items.reduce((sum, r) => sum + r.status.participants, 0);
    return { n, ok: n === 0 };
  });
});

test("what is not there is told of, with what to do", async () => {
  const { browser, page } = await startBrowser(null);
  try {
    // A browser that no way to the media is open to.
    await page.addInitScript(() => {
      const set = RTCPeerConnection.prototype.setRemoteDescription;
      RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        return set.call(this, { type, sdp: sdp.replace(/^(a=candidate:(?:\S+ ){4})\S+ \d+/gm, "$1192.0.2.1 9") });
      };
    });
    await page.route("**/v1/ice-servers", (route) => route.fulfill({ json: { iceServers: [] } }));
    await page.goto(`${server.url}/test`);
    await run(page);
    const seen = await results(page);
    assert.deepEqual([seen.camera, seen.microphone, seen.server, seen.udp, seen.tcp, seen["turn-udp"], seen.echo],
      ["fails", "fails", "works", "fails", "fails", "none", "fails"]);
    assert.match(await page.textContent("#result-camera"), /No camera was found/);
    assert.match(await page.textContent("#summary"), /No way to the server's media is open/);
  } finally {
    await browser.close();
  }
});
