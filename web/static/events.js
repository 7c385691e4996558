// What happens in the room, from one source at a time: the connection's own data
// channel, which is as fast as the media, or, where that is refused or broken,
// server-sent events. Whoever listens need not know which.

import { refusal } from "./problems.js";

// A channel opens right after the connection; after this long, in milliseconds,
// there will be none.
const patience = 4000;
// So many texts are remembered, to know one that comes twice while the source
// changes.
const remembered = 64;

/**
 * Dispatches each event of the session as an "event" whose detail is the envelope, and
 * "over" when the server has ended the session: its detail is why, as refusal makes it.
 */
export class Events extends EventTarget {
  #channel; #stream = null; #timer = 0; #url = ""; #heard = []; #falling = false; #over = false;

  /** channel was made by openChannel, on the connection before its offer. */
  constructor(channel) {
    super();
    this.#channel = channel;
    channel.onmessage = ({ data }) => {
      this.#stop(); // the channel begins with a snapshot: nothing is missing
      this.#take(data);
    };
    channel.onclose = channel.onerror = () => this.#fall();
  }

  static openChannel(pc) { return pc.createDataChannel("mixdown", { protocol: "mixdown.v1" }); }

  /** Begins, once the session's address is known. */
  begin(url) {
    this.#url = url;
    if (this.#channel.readyState === "closed") this.#fall();
    else if (this.#channel.readyState !== "open") this.#timer = setTimeout(() => this.#fall(), patience);
  }

  /** "channel" or "stream", by where events come from; "" before the first. */
  source = "";

  /**
   * Writes to everybody, or to one participant. Throws an Error with words for people
   * where the refusal is known at once; else it comes as an event of type error.
   */
  async write(text, to) {
    const data = to ? { text, to } : { text };
    if (this.#channel.readyState === "open") return this.#channel.send(JSON.stringify({ type: "chat", data }));
    const response = await fetch(`${this.#url}/chat`, { // the session's secret suffices
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data),
    });
    if (!response.ok) throw await refusal(response);
  }

  close() {
    this.#over = true;
    this.#stop();
    this.#channel.onclose = this.#channel.onerror = null;
    this.#channel.close();
  }

  async #fall() {
    if (this.#over || this.#stream || this.#falling || !this.#url) return;
    clearTimeout(this.#timer);
    this.#falling = true;
    const response = await fetch(this.#url).catch(() => null);
    this.#falling = false;
    if (this.#over) return;
    if (response?.status === 410) return this.dispatchEvent(new CustomEvent("over", { detail: await refusal(response) }));
    this.#stream = new EventSource(`${this.#url}/events`); // it reconnects by itself
    this.#stream.onmessage = ({ data }) => {
      this.source = "stream";
      this.#take(data);
    };
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#stream = null;
    this.source = "channel";
  }

  #take(text) {
    const event = JSON.parse(text);
    if (event.type === "chat") {
      const key = JSON.stringify([event.time, event.data]);
      if (this.#heard.includes(key)) return;
      this.#heard = [...this.#heard.slice(1 - remembered), key];
    }
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }
}

/** Who is in the room, who speaks, and what is shown where, by its events. */
export class Roster {
  people = new Map(); // id -> Participant, in the order of joining
  speakers = new Map(); // group -> participant
  layout = null; // of the picture that this client watches
  recording = "";
  selfUnmute = true; // whether who is muted may change that himself

  /** Takes one event in. */
  take({ type, data }) {
    const known = this.people.get(data.id);
    switch (type) {
      case "snapshot":
        if (!data.part) {
          this.people.clear();
          this.recording = data.room.status?.recording ?? "";
          this.selfUnmute = data.room.selfUnmute;
          this.speakers = new Map([["", data.speaker], ...data.groups.map((g) => [g.group, g.speaker])]);
        }
        for (const p of data.participants) this.people.set(p.id, p);
        break;
      case "participant.joined":
      case "participant.updated":
      case "participant.moved":
        this.people.set(data.id, { ...known, ...data });
        break;
      case "participant.left":
        this.people.delete(data.id);
        break;
      case "speaker.changed":
        this.speakers.set(data.group, data.participant);
        break;
      case "layout.changed":
        this.layout = data;
        break;
      case "room.updated":
        this.selfUnmute = data.selfUnmute;
        break;
      case "recording.started":
      case "recording.resumed":
      case "recording.paused":
        this.recording = data.id;
        break;
      case "recording.stopped":
      case "recording.failed":
        this.recording = "";
        break;
    }
  }

  /** Whether somebody has the floor of his group. */
  speaks(id) { return [...this.speakers.values()].includes(id); }
}
