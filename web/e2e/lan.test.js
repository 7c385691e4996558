// Two phones on a LAN: a server that makes its own certificate and has keys, an
// invitation, and nothing else. Phones open no camera for plain HTTP.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { devices } from "playwright-core";
import { ownAddress, readTiles, root, shots, startBrowser, startServer, until } from "./harness.js";

const program = process.env.MIXDOWN ?? path.join(root, "bin/mixdown");
const phone = devices["Pixel 7"];
// The clips' middles, on a canvas with two tiles beside each other.
const middles = [[0.15, 0.4, 0.2, 0.2], [0.65, 0.4, 0.2, 0.2]];

let dir, server, red, blue, invitation;

before(async () => {
  mkdirSync(shots, { recursive: true });
  dir = mkdtempSync(path.join(tmpdir(), "mixdown-lan-"));
  const keys = path.join(dir, "keys.yaml");
  execFileSync(program, ["keys", "new", keys]);
  server = await startServer("--tls", "self", "--http", ":0", "--keys", keys);
  invitation = execFileSync(program, ["token", "--keys", keys, "--room", "lan", "--link", server.url], { encoding: "utf8" }).trim();
  [red, blue] = await Promise.all([startBrowser("red"), startBrowser("blue")]);
});

after(async () => {
  await Promise.all([red?.browser.close(), blue?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
  rmSync(dir, { recursive: true, force: true });
});

/** A phone whose owner has accepted the certificate. */
async function onPhone({ browser }) {
  const context = await browser.newContext({ ...phone, permissions: ["camera", "microphone"], ignoreHTTPSErrors: true });
  return context.newPage();
}

test("the address that is printed is this machine's on the LAN", () => {
  const { protocol, hostname } = new URL(server.url);
  assert.equal(protocol, "https:");
  assert.equal(hostname, ownAddress());
});

test("two phones meet by the invitation", async () => {
  const pages = [];
  for (const [browser, name] of [[red, "Rosa"], [blue, "철수"]]) {
    const page = await onPhone(browser);
    await page.goto(invitation);
    assert.equal(await page.evaluate(() => isSecureContext), true);
    await page.waitForFunction(() => document.getElementById("camera").options.length > 0);
    await page.fill("#name", name);
    await page.tap("#join");
    await page.waitForSelector("#call:not([hidden])");
    pages.push(page);
  }
  for (const page of pages) {
    await until("both tiles", async () => {
      const seen = await readTiles(page, middles);
      const [left, right] = seen.tiles;
      return { ...seen, ok: Boolean(left) && left.r > left.b + 25 && right.b > right.r + 25 };
    });
  }
  await pages[0].screenshot({ path: path.join(shots, "phone.png") });
  const { width, scroll } = await pages[0].evaluate(() => ({ width: innerWidth, scroll: document.documentElement.scrollWidth }));
  assert.ok(scroll <= width, `the page is ${scroll} wide on a phone of ${width}`);
  assert.equal(await pages[0].evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol), "h2");
});

test("without a token a phone is told so", async () => {
  const page = await onPhone(red);
  const response = await page.request.get(`${server.url}/v1/rooms/lan`);
  assert.equal(response.status(), 401);
});
