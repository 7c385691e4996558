// Every word of the pages is there in every language. No browser is needed.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { root } from "./harness.js";

const folder = path.join(root, "web/static");
const read = (ending) => readdirSync(folder).filter((name) => name.endsWith(ending))
  .map((name) => ({ name, text: readFileSync(path.join(folder, name), "utf8") }));
const scripts = read(".js");
const pages = read(".html");
const tables = await Promise.all(["page", "admin"].map(async (name) =>
  (await import(path.join(folder, "messages", `ko-${name}.js`))).default));
const korean = Object.assign({}, ...tables);

/** The marked texts and labels of a page, as translate() finds them. */
function marked(html) {
  const found = [];
  for (const [, tag, after] of html.matchAll(/(<\w+[^>]*\sdata-t(?=[\s>])[^>]*>)([^<]*)/g)) {
    found.push(after, ...[...tag.matchAll(/\s(?:aria-label|title|placeholder|alt)="([^"]*)"/g)].map((m) => m[1]));
  }
  return found.map((text) => text.trim().replace(/\s+/g, " ").replaceAll("&amp;", "&")).filter((text) => /\p{L}/u.test(text));
}

test("every text has Korean words", () => {
  const wanted = [...pages.flatMap(({ text }) => marked(text)),
    ...scripts.flatMap(({ text }) => [...text.replace(/^\s*\/\/.*$/gm, "").matchAll(/\bt\(("(?:[^"\\]|\\.)*")/g)].map((m) => JSON.parse(m[1])))];
  assert.deepEqual([...new Set(wanted)].filter((key) => !Object.hasOwn(korean, key)), []);
});

test("no words are left over, and none are said in two ways", () => {
  const all = [...scripts, ...pages].map(({ text }) => text.replace(/\s+/g, " ")).join("\n");
  const written = (key) => all.includes(key) || all.includes(JSON.stringify(key).slice(1, -1)) || all.includes(key.replaceAll("&", "&amp;"));
  assert.deepEqual(Object.keys(korean).filter((key) => !written(key)), []);
  for (const table of tables) {
    for (const [english, words] of Object.entries(table)) assert.equal(words, korean[english], english);
  }
});

test("a translation has the same places to fill", () => {
  const places = (text) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]))].sort();
  for (const [english, words] of Object.entries(korean)) assert.deepEqual(places(words), places(english), english);
});

test("a number chooses between one and many; what is unknown stays English", async () => {
  const { t, missing } = await import(path.join(folder, "i18n.js"));
  assert.equal(t("{n} person|{n} people", { n: 1 }), "1 person");
  assert.equal(t("{n} person|{n} people", { n: 0 }), "0 people");
  assert.equal(t("to {who}, {place}", { who: "<b>{place}" }), "to <b>{place}, {place}");
  assert.equal(missing.size, 0);
});
