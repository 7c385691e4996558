// Browsers whose user or machine says no: the page says why, in plain words,
// and joining without a device works.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, test } from "node:test";
import { join, readTiles, shots, startBrowser, startServer, until } from "./harness.js";

let server;
before(async () => { server = await startServer(); });
after(async () => { assert.equal(await server?.stop(), 0); });

test("no devices: the page says so, and one can still watch", async () => {
  const { browser, page } = await startBrowser(null);
  try {
    await join(page, server.url, "watch", "Nobody");
    await until("the mix", async () => (await readTiles(page, [])).width > 0);
    await page.click("#leave");
    const note = await page.textContent("#device-note");
    assert.match(note, /No camera was found/);
    assert.match(note, /No microphone was found/);
    await page.screenshot({ path: path.join(shots, "no-devices.png") });
  } finally {
    await browser.close();
  }
});

test("permission denied: the page says how to allow it", async () => {
  const { browser, page } = await startBrowser("red", { permissions: [] });
  try {
    await page.goto(`${server.url}/`);
    await until("the note", async () => /not allowed to use the camera/.test(await page.textContent("#device-note")));
    assert.match(await page.inputValue("#room"), /^[a-z0-9]{10}$/, "a room was made up");
  } finally {
    await browser.close();
  }
});

test("a locked room refuses in words", async () => {
  const made = await fetch(`${server.url}/v1/rooms/locked`, {
    method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ locked: true }),
  });
  assert.equal(made.status, 201);
  const { browser, page } = await startBrowser("red");
  try {
    await page.goto(`${server.url}/r/locked`);
    await page.waitForFunction(() => document.getElementById("camera").options.length > 0);
    await page.click("#join");
    await until("the refusal", async () => /may not enter this room.*locked/.test(await page.textContent("#message")));
    assert.ok(await page.isVisible("#lobby"));
  } finally {
    await browser.close();
  }
});
