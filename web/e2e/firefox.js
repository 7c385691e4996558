// A real Firefox, as Debian ships it, driven by the protocol that it speaks
// itself (WebDriver BiDi): Playwright drives only a Firefox of its own making.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import WebSocket from "ws";

// A new profile would otherwise ask about devices, wait for a click before it
// plays anything, and look for updates.
const always = {
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  "app.update.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
};

// How long a command may take, in milliseconds: listening takes seconds by itself.
const patience = 60_000;

/**
 * Starts Firefox with a camera that shows colours that change, and a microphone
 * with a tone of that many Hz; 0 is no devices. The page is the part of
 * Playwright's that the tests use.
 */
export async function startFirefox({ tone = 0, prefs = {} } = {}) {
  const executable = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
  if (!existsSync(executable)) {
    throw new Error(`${executable} is missing: run \`make deps-test\`, or say where Firefox is: FIREFOX=/path`);
  }
  const profile = mkdtempSync(path.join(tmpdir(), "mixdown-firefox-"));
  const devices = tone ? { "media.navigator.streams.fake": true, "media.navigator.audio.fake_frequency": tone } : {};
  writeFileSync(path.join(profile, "user.js"), Object.entries({ ...always, ...devices, ...prefs })
    .map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`).join(""));
  const child = spawn(executable,
    ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "--width", "1280", "--height", "800"],
    { stdio: ["ignore", "ignore", "pipe"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const close = async () => {
    child.kill("SIGTERM");
    await exited;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  try {
    const bidi = await connect(await listening(child, exited));
    await bidi.send("session.new", { capabilities: {} });
    const { contexts } = await bidi.send("browsingContext.getTree", {});
    const page = new Page(bidi, contexts[0].context);
    await bidi.send("session.subscribe", { events: ["log.entryAdded"] });
    return { browser: { close }, page };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The address that Firefox says on stderr. */
function listening(child, exited) {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stderr.on("data", (chunk) => {
      said = (said + chunk).slice(-64 << 10);
      const found = /WebDriver BiDi listening on (ws:\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
    exited.then((code) => reject(new Error(`Firefox ended with ${code}:\n${said}`)));
  });
}

/** Opens the one session: send() returns a command's result, onevent gets what comes unasked. */
async function connect(url) {
  const socket = new WebSocket(`${url}/session`);
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  const waiting = new Map();
  let last = 0;
  const bidi = {
    onevent: () => {},
    send(method, params) {
      const id = ++last;
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`Firefox took too long: ${method} ${JSON.stringify(params)}`)), patience);
        waiting.set(id, { resolve, reject, timer });
        socket.send(JSON.stringify({ id, method, params }));
      });
    },
  };
  socket.on("message", (text) => {
    const message = JSON.parse(text);
    const asked = waiting.get(message.id);
    if (!asked) return bidi.onevent(message);
    waiting.delete(message.id);
    clearTimeout(asked.timer);
    if (message.type === "error") asked.reject(new Error(`Firefox: ${message.error}: ${message.message}`));
    else asked.resolve(message.result);
  });
  socket.once("close", () => {
    for (const { reject, timer } of waiting.values()) {
      clearTimeout(timer);
      reject(new Error("Firefox has gone"));
    }
  });
  return bidi;
}

class Page {
  #bidi; #context;
  complaints = [];

  constructor(bidi, context) {
    this.#bidi = bidi;
    this.#context = context;
    bidi.onevent = ({ method, params }) => {
      // What the browser itself warns of is no complaint of the page's.
      if (method === "log.entryAdded" && params.level === "error") this.complaints.push(params.text);
    };
  }

  goto(url) {
    return this.#bidi.send("browsingContext.navigate", { context: this.#context, url, wait: "complete" });
  }

  /** Calls the function in the page with one argument, which like its result is JSON. */
  async evaluate(f, argument) {
    const { type, result, exceptionDetails } = await this.#bidi.send("script.callFunction", {
      functionDeclaration: `async (argument) => JSON.stringify(await (${f})(JSON.parse(argument)) ?? null)`,
      arguments: [{ type: "string", value: JSON.stringify(argument ?? null) }],
      target: { context: this.#context },
      awaitPromise: true,
      userActivation: true,
    });
    if (type !== "success") throw new Error(`in Firefox: ${exceptionDetails.text}`);
    return JSON.parse(result.value);
  }

  async waitForFunction(f, seconds = 20) {
    const deadline = Date.now() + seconds * 1000;
    while (!await this.evaluate(f)) {
      if (Date.now() > deadline) throw new Error(`in Firefox: not within ${seconds} s: ${f}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async waitForSelector(selector) {
    const deadline = Date.now() + 20_000;
    while (!await this.evaluate((selector) => document.querySelector(selector) !== null, selector)) {
      if (Date.now() > deadline) throw new Error(`in Firefox: no ${selector}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  fill(selector, value) {
    return this.evaluate(([selector, value]) => {
      const field = document.querySelector(selector);
      field.value = value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }, [selector, value]);
  }

  click(selector) {
    return this.evaluate((selector) => document.querySelector(selector).click(), selector);
  }

  textContent(selector) {
    return this.evaluate((selector) => document.querySelector(selector).textContent, selector);
  }
}
