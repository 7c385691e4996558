// One person arranges the picture for everybody, and takes himself out of what
// he sees.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { join, readTiles, shots, startBrowser, startServer, until } from "./harness.js";

let server, red, blue;

before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer();
  [red, blue] = await Promise.all([startBrowser("red"), startBrowser("blue")]);
  await join(red.page, server.url, "arranged", "Red");
  await join(blue.page, server.url, "arranged", "Blue");
});

after(async () => {
  await Promise.all([red?.browser.close(), blue?.browser.close()]);
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
});

// Parts of the picture, away from labels: the middles of the two tiles of a
// grid, and of a sidebar's large tile, first small one, and empty space below.
const grid = [[0.15, 0.4, 0.2, 0.2], [0.65, 0.4, 0.2, 0.2]];
const sidebar = [[0.25, 0.35, 0.3, 0.3], [0.87, 0.06, 0.05, 0.06], [0.85, 0.5, 0.1, 0.4]];

const hue = (t) => !t ? "none" : t.r > t.b + 25 ? "red" : t.b > t.r + 25 ? "blue" : "neither";
const hues = async (page, rects) => (await readTiles(page, rects)).tiles.map(hue);

/** Waits until those parts of a page's picture have one of those lists of colours. */
function shows(what, page, rects, ...wanted) {
  return until(what, async () => {
    const seen = (await hues(page, rects)).join(" ");
    return { seen, ok: wanted.includes(seen) };
  });
}

test("a grid, as long as nobody asks for anything else", async () => {
  for (const { page } of [red, blue]) await shows("both tiles", page, grid, "red blue");
  assert.equal(await red.page.inputValue("#layout"), "grid");
});

test("who picks a sidebar, picks it for all", async () => {
  await red.page.selectOption("#layout", "sidebar");
  // Who is large depends on who is louder.
  for (const { page } of [red, blue]) await shows("a sidebar", page, sidebar, "red blue neither", "blue red neither");
  await until("the other's choice", async () => (await blue.page.inputValue("#layout")) === "sidebar");
  await red.page.screenshot({ path: path.join(shots, "sidebar.png") });
});

test("who hides himself is seen by the others only, whatever the layout", async () => {
  await red.page.click("#hide-self");
  assert.equal(await until("the button", async () => (await red.page.getAttribute("#hide-self", "aria-pressed")) === "true"), true);
  await shows("blue alone", red.page, grid, "blue blue");
  await shows("both", blue.page, sidebar, "red blue neither", "blue red neither");
  await blue.page.selectOption("#layout", "grid");
  await shows("both in a grid", blue.page, grid, "red blue", "blue red");
  await until("the other's choice", async () => (await red.page.inputValue("#layout")) === "grid");
  await shows("blue alone still", red.page, grid, "blue blue");
  const { items } = await (await fetch(`${server.url}/v1/rooms/arranged/participants`)).json();
  const own = await (await fetch(`${server.url}/v1/rooms/arranged/participants/${items.find((p) => p.name === "Red").id}/layout`)).json();
  assert.equal(own.mode, "grid", "his own picture is arranged like the room's");
  assert.deepEqual(own.shown.map((t) => t.name), ["Blue"]);
});

test("and comes back", async () => {
  await red.page.click("#hide-self");
  await shows("both", red.page, grid, "red blue", "blue red");
  assert.equal(await red.page.textContent("#hide-self"), "Hide me");
});

test("no page complained", () => {
  assert.deepEqual([...red.page.complaints, ...blue.page.complaints], []);
});
