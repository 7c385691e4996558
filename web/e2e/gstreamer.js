// Runs gstreamer.py, see there.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("gstreamer.py", import.meta.url));
// Debian's own Python, which has the bindings.
const python = process.env.GSTREAMER_PYTHON ?? "/usr/bin/python3";

/**
 * Starts a client. seen() is what came and was sent in its last second, {} before
 * that; it throws when the client has ended. stop() has it leave.
 */
export function startGStreamer(url, role, codec) {
  if (!existsSync(python)) throw new Error(`${python} is missing: run \`make deps-test\``);
  const child = spawn(python, [script, url, role, codec], { stdio: ["ignore", "pipe", "pipe"] });
  let complained = "";
  let last = {};
  let code = null;
  createInterface({ input: child.stdout }).on("line", (line) => { last = JSON.parse(line); });
  child.stderr.on("data", (chunk) => { complained = (complained + chunk).slice(-16 << 10); });
  const ended = new Promise((resolve) => child.once("close", resolve)).then((c) => { code = c; });
  const check = () => {
    if (code) throw new Error(`gstreamer.py ended with ${code}:\n${complained}`);
  };
  return {
    seen() {
      check();
      return last;
    },
    async stop() {
      child.kill("SIGINT");
      await ended;
      check();
    },
  };
}
