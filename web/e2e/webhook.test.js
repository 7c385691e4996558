// A receiver that knows nothing but Standard Webhooks' published library takes
// what the server tells, also when the server dies in the middle of it.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { Webhook } from "standardwebhooks";
import { startMember, startServer, until } from "./harness.js";

const secret = `whsec_${Buffer.from("a secret of thirty-two bytes ...").toString("base64")}`;
const data = mkdtempSync(path.join(tmpdir(), "mixdown-webhook-"));
let receiver, server;
const seen = []; // every attempt: {id, event, answered}
const forged = [];
let hold = () => false; // whether an event gets no answer

before(async () => {
  const verifier = new Webhook(secret);
  receiver = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("error", () => {}); // the server was killed
    request.on("end", () => {
      try {
        const event = verifier.verify(Buffer.concat(chunks).toString(), request.headers);
        const held = hold(event);
        seen.push({ id: request.headers["webhook-id"], event, answered: !held });
        if (!held) response.writeHead(204).end();
      } catch (error) {
        forged.push(String(error));
        response.writeHead(400).end();
      }
    });
  }).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  server = await start();
});

after(async () => {
  receiver?.close();
  receiver?.closeAllConnections();
  assert.equal(await server?.stop(), 0, "the server ends cleanly on SIGTERM");
  rmSync(data, { recursive: true, force: true });
});

const start = () => startServer("--data", data, "--outgoing-allow", "127.0.0.1",
  "--webhook", `http://127.0.0.1:${receiver.address().port}/hook secret=${secret}`);

const call = async (method, where) => {
  const response = await fetch(server.url + where, { method });
  assert.ok(response.ok, `${method} ${where}: ${response.status}`);
};
const ofRoom = (room) => seen.filter(({ event }) => event.room === room);
const types = (room) => ofRoom(room).map(({ event }) => event.type);

test("a receiver hears of rooms and of who is in them", async () => {
  await call("PUT", "/v1/rooms/one");
  const member = startMember(server, "one");
  try {
    await until("who joins", () => types("one").includes("participant.joined"));
  } finally {
    await member.close();
  }
  await until("who leaves", () => types("one").includes("participant.left"));
  await call("DELETE", "/v1/rooms/one");
  await until("the end", () => types("one").at(-1) === "room.finished");
  const events = ofRoom("one");
  assert.equal(events[0].event.type, "room.started");
  assert.deepEqual(events.map(({ event }) => event.seq), events.map(({ event }) => event.seq).toSorted((a, b) => a - b), "in order");
  for (const { id, event } of events) {
    assert.equal(id, event.id);
    assert.ok(!Number.isNaN(Date.parse(event.time)) && event.data, JSON.stringify(event));
  }
  assert.equal(events.find(({ event }) => event.type === "participant.joined").event.data.name, "Film");
});

test("nothing is lost or comes in another order when the server dies in mid-delivery", async () => {
  hold = (event) => event.room === "two";
  await call("PUT", "/v1/rooms/two");
  await until("an attempt", () => ofRoom("two").length === 1);
  await call("DELETE", "/v1/rooms/two"); // what is told of that waits behind it
  await until("the room's end", async () => (await fetch(`${server.url}/v1/rooms/two`)).status === 404);
  // What is told of another room goes on, and so everything before it is kept.
  await call("PUT", "/v1/rooms/three");
  await until("the other room", () => types("three").includes("room.started"));
  assert.ok(!types("two").includes("room.finished"));
  await server.kill();
  hold = () => false;
  server = await start();
  await until("the rest", () => types("two").includes("room.finished"));
  const events = ofRoom("two");
  const first = events[0];
  const again = events.filter(({ answered }) => answered);
  assert.equal(first.answered, false);
  assert.deepEqual(again.map(({ event }) => event.type), ["room.started", "room.finished"]);
  assert.equal(again[0].id, first.id, "sent again as the same message");
  assert.deepEqual(again[0].event, first.event);
});

test("nothing that came was not ours", () => assert.deepEqual(forged, []));
