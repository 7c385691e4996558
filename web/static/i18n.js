// The pages' words in the reader's language. English is written where it is
// used and is the key; the other languages are tables in messages/.
//
//   t("Joined {room}", { room })              a text with places to fill
//   t("{n} person|{n} people", { n })         one or many, by the number n
//   <button data-t title="Ends it">End</button>   its own text and its labels
//
// translate() fills a document in, and again when the language changes; texts
// that a script writes are written anew by whoever listens with onLanguage.
import page from "./messages/ko-page.js";
import admin from "./messages/ko-admin.js";

/** The languages there are, each by its own name. */
export const languages = { en: "English", ko: "한국어" };

const tables = { ko: { ...page, ...admin } };
const attributes = ["aria-label", "title", "placeholder", "alt"];
const listeners = new Set();
const originals = new WeakMap(); // a text or element -> its English

/** What had no words in the language shown: empty, or a fault that tests find. */
export const missing = new Set();

/** The language shown: the one chosen before, else the browser's first known one. */
export let language = pick();

function pick() {
  const wanted = [stored(), ...(globalThis.navigator?.languages ?? [])];
  return wanted.map((tag) => tag?.split("-")[0].toLowerCase()).find((tag) => Object.hasOwn(languages, tag)) ?? "en";
}

// Storage is refused where a page may keep nothing.
function stored(choice) {
  try {
    if (choice) localStorage.setItem("language", choice);
    return localStorage.getItem("language");
  } catch {
    return choice;
  }
}

/** Says an English text in the language shown, with {name} replaced by params.name. */
export function t(key, params = {}) {
  const table = tables[language];
  const text = table && Object.hasOwn(table, key) ? table[key] : key;
  if (table && text === key && !Object.hasOwn(table, key)) missing.add(key);
  return numbered(text, params).replace(/\{(\w+)\}/g, (whole, name) => params[name] ?? whole);
}

// A text of two forms is about params.n of something.
function numbered(text, { n }) {
  if (n === undefined || !text.includes("|")) return text;
  const [one, many] = text.split("|");
  return new Intl.PluralRules(language).select(n) === "one" ? one : many;
}

/** A number with so many digits after the point, as the reader writes it. */
export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);

/** Fills in everything below root that is marked data-t: its own text and its labels. */
export function translate(root = document) {
  if (root === document) document.documentElement.lang = language;
  for (const element of root.querySelectorAll("[data-t]")) {
    for (const node of element.childNodes) {
      if (node.nodeType !== Node.TEXT_NODE || !/\p{L}/u.test(node.data)) continue; // no words
      if (!originals.has(node)) originals.set(node, node.data);
      const english = originals.get(node);
      const words = english.trim().replace(/\s+/g, " ");
      node.data = english.replace(english.trim(), () => t(words)); // the spaces around it stay
    }
    if (!originals.has(element)) {
      originals.set(element, attributes.filter((a) => element.hasAttribute(a)).map((a) => [a, element.getAttribute(a)]));
    }
    for (const [attribute, english] of originals.get(element)) element.setAttribute(attribute, t(english));
  }
}

/** Calls f after each change of the language. */
export function onLanguage(f) { listeners.add(f); }

/** Shows another language from now on, and next time. */
export function setLanguage(choice) {
  if (!Object.hasOwn(languages, choice)) return;
  language = choice;
  stored(choice);
  translate();
  for (const f of listeners) f(choice);
}

/** Makes a select the switch of languages. */
export function languageSwitch(select) {
  select.replaceChildren(...Object.entries(languages).map(([tag, name]) => {
    const option = new Option(name, tag);
    option.lang = tag;
    return option;
  }));
  select.value = language;
  select.addEventListener("change", () => setLanguage(select.value));
}
