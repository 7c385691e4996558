// The side of the page: who is here, and what they write to each other. All of it
// is other people's text, and goes in as text only.

const mostLines = 500;

function line(tag, ...parts) {
  const item = document.createElement(tag);
  item.append(...parts);
  return item;
}

/** An element that shows text whichever way it is written. */
function text(tag, content, className = "") {
  const element = document.createElement(tag);
  element.dir = "auto";
  element.textContent = content;
  element.className = className;
  return element;
}

export class Chat {
  #ui; #own = ""; #unread = 0; #write; #listed = "";

  /** ui are the elements by id; write(text, to) sends. */
  constructor(ui, write) {
    this.#ui = ui;
    this.#write = write;
    ui.chat.addEventListener("click", () => this.#open(ui.side.hidden));
    ui["chat-form"].addEventListener("submit", (event) => this.#send(event));
    ui.side.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing) this.#open(false);
    });
  }

  /** Empties it, for a stay in a room. */
  begin() {
    this.#ui["chat-log"].replaceChildren();
    this.#ui["chat-text"].value = "";
    this.#open(false, false);
  }

  /** Says which participant this client is; another one once it has connected anew. */
  become(own) { this.#own = own; }

  /** Shows who is here. */
  list(roster) {
    const people = [...roster.people.values()].filter((p) => p.state !== "left");
    this.#ui.roster.replaceChildren(...people.map((p) => {
      const marks = [
        p.id === this.#own && "you", roster.speaks(p.id) && "speaking", p.send.audio.muted && "muted",
        p.state === "reconnecting" && "connecting again", p.state === "waiting" && "connecting",
      ].filter(Boolean).join(", ");
      const item = line("li", text("span", this.#nameOf(p.id, p.name)), text("span", marks && ` (${marks})`, "quiet"));
      item.classList.toggle("speaking", roster.speaks(p.id));
      return item;
    }));
    // A list that somebody is choosing from stays as it is while nobody comes or goes.
    const others = people.filter((p) => p.id !== this.#own && p.state !== "waiting");
    const listed = JSON.stringify(others.map((p) => [p.id, p.name]));
    if (listed !== this.#listed) this.#offer(others);
    this.#listed = listed;
  }

  /** Offers to write to each of these people alone. */
  #offer(others) {
    const chosen = this.#ui["chat-to"].value;
    this.#ui["chat-to"].replaceChildren(new Option("Everybody", ""), ...others.map((p) => new Option(p.name || "Somebody", p.id)));
    // Who has left is not replaced by everybody without a word.
    if (chosen && !others.some((p) => p.id === chosen)) {
      const gone = new Option("Somebody who has left", chosen);
      gone.disabled = true;
      this.#ui["chat-to"].append(gone);
    }
    this.#ui["chat-to"].value = chosen;
  }

  /** Shows what somebody has written. */
  take({ time, data }, roster) {
    const log = this.#ui["chat-log"];
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const to = data.to && (data.to === this.#own ? "you" : this.#nameOf(data.to, roster.people.get(data.to)?.name));
    const stamp = text("time", new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }), "quiet");
    stamp.dateTime = time;
    const author = data.from === this.#own ? "You" : this.#nameOf(data.from, data.name);
    log.append(line("p", stamp, " ", text("b", author), to ? text("span", ` to ${to} only`, "quiet") : "", ": ", text("span", data.text)));
    while (log.childElementCount > mostLines) log.firstElementChild.remove();
    if (atEnd || data.from === this.#own) log.scrollTop = log.scrollHeight;
    if (this.#ui.side.hidden && data.from !== this.#own) this.#count(this.#unread + 1);
  }

  #nameOf(id, name) { return name || (id === this.#own ? "You" : "Somebody"); }

  #count(unread) {
    this.#unread = unread;
    this.#ui.chat.textContent = unread ? `Chat (${unread} new)` : "Chat";
  }

  /** Opens or closes it; the keyboard goes along. */
  #open(open, focus = true) {
    this.#ui.side.hidden = !open;
    this.#ui.chat.setAttribute("aria-expanded", String(open));
    if (open) this.#count(0);
    if (focus) this.#ui[open ? "chat-text" : "chat"].focus();
    if (open) this.#ui["chat-log"].scrollTop = this.#ui["chat-log"].scrollHeight;
  }

  async #send(event) {
    event.preventDefault();
    const field = this.#ui["chat-text"];
    const written = field.value.trim();
    if (!written) return;
    field.value = "";
    if (!await this.#write(written, this.#ui["chat-to"].value)) field.value ||= written;
  }
}
