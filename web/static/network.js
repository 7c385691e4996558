// Keeps a connection while networks come and go. When the path is lost, or the
// machine is on another network, ICE begins anew (RFC 8445 section 9), by PATCH on
// the session (RFC 9725): the server goes on with the same media and the same
// participant. There is no other offer: of the one that the browser makes for it
// only the credentials are sent, and the first answer gets the server's new ones.

// A path that is lost for so long, in milliseconds, is looked for anew.
const patience = 1000;
// A new one is found within so long, or not at all.
const searchFor = 5000;
// Candidates that are found within so long go together.
const gather = 100;
// While the server cannot be reached it is asked again after these pauses. It
// waits eight seconds for a client.
const pauses = [0, 500, 1000, 2000, 3000];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const linesOf = (sdp, what) => sdp.split(/\r?\n/).filter((line) => what.test(line));

/** What a description says of ICE, as application/trickle-ice-sdpfrag (RFC 8840). */
export function fragmentOf(sdp) {
  const [, line = ""] = sdp.split(/^(?=m=)/m);
  const about = linesOf(line, /^(m=|a=mid:|a=ice-ufrag:|a=ice-pwd:|a=candidate:)/);
  return [...about, ""].join("\r\n");
}

/** An answer with the credentials and candidates of a fragment in place of its own. */
export function renewed(answer, fragment) {
  const credentials = linesOf(fragment, /^a=ice-(ufrag|pwd):/);
  const candidates = linesOf(fragment, /^a=candidate:/);
  return answer.split(/^(?=m=)/m).map((section, n) => {
    const kept = linesOf(section, /./).filter((line) => !/^a=(ice-ufrag:|ice-pwd:|candidate:|end-of-candidates)/.test(line));
    const used = n > 0 && !/^m=\S+ 0 /.test(section);
    return [...kept, ...(used ? [...credentials, ...candidates] : []), ""].join("\r\n");
  }).join("");
}

/**
 * Watches one connection. Dispatches "lost" when it cannot be had again; its
 * detail is what the server said, as an Error with a status, or null.
 */
export class Network extends EventTarget {
  #pc; #url = ""; #answer = ""; #found = []; #sending = 0; #timer = 0; #busy = false; #over = false;
  #online = () => this.#restart();

  /** Make one before the local description is set: it collects candidates. */
  constructor(pc) {
    super();
    this.#pc = pc;
    pc.addEventListener("icecandidate", ({ candidate }) => candidate?.candidate && this.#add(`a=${candidate.candidate}`));
    pc.addEventListener("iceconnectionstatechange", () => this.#follow());
    addEventListener("online", this.#online);
  }

  /** The session's URL and the server's answer are known. */
  begin(url, answer) {
    this.#url = url;
    this.#answer = answer;
    this.#add();
  }

  close() {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#sending);
    removeEventListener("online", this.#online);
  }

  #follow() {
    clearTimeout(this.#timer);
    const state = this.#pc.iceConnectionState;
    if (state === "disconnected") this.#timer = setTimeout(() => this.#restart(), patience);
    if (state === "failed") this.#restart();
  }

  /** Sends candidates, those of a moment together, to a server that makes use of them. */
  #add(...candidates) {
    this.#found.push(...candidates);
    if (!this.#found.length || !this.#url || this.#sending || /^a=ice-lite/m.test(this.#answer)) return;
    this.#sending = setTimeout(() => {
      this.#sending = 0;
      if (this.#busy || this.#over) return;
      const own = linesOf(fragmentOf(this.#pc.localDescription.sdp), /^(m=|a=(mid|ice-))/);
      this.#patch([...own, ...this.#found.splice(0), ""].join("\r\n")).catch(() => {}); // our own checks do as well
    }, gather);
  }

  #patch(body) {
    return fetch(this.#url, {
      method: "PATCH", body, signal: AbortSignal.timeout(3000),
      headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" },
    });
  }

  async #restart() {
    if (!this.#url || this.#busy || this.#over) return;
    this.#busy = true;
    clearTimeout(this.#timer);
    let refused = null;
    for (const before of pauses) {
      await pause(before);
      if (this.#over) return;
      try {
        const response = await this.#ask();
        if (!response.ok) {
          refused = Object.assign(new Error(response.statusText), { status: response.status });
          if (response.status === 429) continue;
          break;
        }
        this.#answer = renewed(this.#answer, await response.text());
        await this.#pc.setRemoteDescription({ type: "answer", sdp: this.#answer });
        refused = null;
        if (await this.#arrived()) break;
      } catch (error) {
        refused = error; // the server cannot be reached: there may be no network yet
      }
    }
    this.#busy = false;
    if (this.#over) return;
    this.#add();
    if (refused || !this.#connected) this.dispatchEvent(new CustomEvent("lost", { detail: refused }));
  }

  /** Makes new credentials and tells them. */
  async #ask() {
    this.#pc.restartIce();
    await this.#pc.setLocalDescription();
    try {
      const response = await this.#patch(fragmentOf(this.#pc.localDescription.sdp));
      if (response.ok) return response;
      await this.#pc.setLocalDescription({ type: "rollback" });
      return response;
    } catch (error) {
      if (this.#pc.signalingState === "have-local-offer") await this.#pc.setLocalDescription({ type: "rollback" });
      throw error;
    }
  }

  get #connected() { return ["connected", "completed"].includes(this.#pc.iceConnectionState); }

  /** Says whether a path is found in time. */
  async #arrived() {
    const until = performance.now() + searchFor;
    while (!this.#connected && performance.now() < until && !this.#over) await pause(50);
    return this.#connected;
  }
}
