// The side of the page: who is here, and what they write to each other. All of it
// is other people's text, and goes in as text only.

import { list, put } from "./dom.js";
import { language, t } from "./i18n.js";

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
  #ui; #own = ""; #unread = 0; #write; #listed = ""; #roster = null; #letIn;

  /** Whether this client may let people in who wait, as far as it is known. */
  mayLetIn = true;

  /** ui are the elements by id; write(text, to) sends; letIn(participant) lets somebody in. */
  constructor(ui, write, letIn) {
    this.#letIn = letIn;
    this.#ui = ui;
    this.#write = write;
    this.#count(0);
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

  /** Says all anew, in another language. */
  translate() {
    this.#listed = "";
    if (this.#roster) this.list(this.#roster);
    this.#count(this.#unread);
  }

  /** Says which participant this client is; another one once it has connected anew. */
  become(own) { this.#own = own; }

  /** Shows who is here. */
  list(roster) {
    this.#roster = roster;
    const people = [...roster.people.values()].filter((p) => p.state !== "left");
    list(this.#ui.roster, people, (p) => p.id, (p) => this.#row(p.id), (item, p) => {
      const marks = [
        p.id === this.#own && t("you"), roster.speaks(p.id) && t("speaking"), p.send.audio.muted && t("muted"),
        p.state === "reconnecting" && t("connecting again"), p.admitted === false ? t("waiting") : p.state === "waiting" && t("connecting"),
      ].filter(Boolean).join(", ");
      const [name, about, letIn] = item.children;
      put(name, this.#nameOf(p.id, p.name));
      put(about, marks && ` (${marks})`);
      put(letIn, t("Let in"));
      letIn.hidden = !this.mayLetIn || p.id === this.#own || p.admitted !== false;
      item.classList.toggle("speaking", roster.speaks(p.id));
    });
    // A list that somebody is choosing from stays as it is while nobody comes or goes.
    const others = people.filter((p) => p.id !== this.#own && p.state !== "waiting" && p.admitted !== false);
    const listed = JSON.stringify(others.map((p) => [p.id, p.name]));
    if (listed !== this.#listed) this.#offer(others);
    this.#listed = listed;
  }

  #row(id) {
    const letIn = line("button");
    letIn.type = "button";
    letIn.className = "let-in";
    letIn.addEventListener("click", () => this.#letIn(id));
    return line("li", text("span", ""), text("span", "", "quiet"), letIn);
  }

  /** Offers to write to each of these people alone. */
  #offer(others) {
    const chosen = this.#ui["chat-to"].value;
    this.#ui["chat-to"].replaceChildren(new Option(t("Everybody"), ""), ...others.map((p) => new Option(p.name || t("Somebody"), p.id)));
    // Who has left is not replaced by everybody without a word.
    if (chosen && !others.some((p) => p.id === chosen)) {
      const gone = new Option(t("Somebody who has left"), chosen);
      gone.disabled = true;
      this.#ui["chat-to"].append(gone);
    }
    this.#ui["chat-to"].value = chosen;
  }

  /** Shows what somebody has written. */
  take({ time, data }, roster) {
    const log = this.#ui["chat-log"];
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const to = data.to && (data.to === this.#own ? t("you") : this.#nameOf(data.to, roster.people.get(data.to)?.name));
    const stamp = text("time", new Date(time).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" }), "quiet");
    stamp.dateTime = time;
    const author = data.from === this.#own ? t("You") : this.#nameOf(data.from, data.name);
    log.append(line("p", stamp, " ", text("b", author), to ? text("span", ` ${t("to {name} only", { name: to })}`, "quiet") : "", ": ", text("span", data.text)));
    while (log.childElementCount > mostLines) log.firstElementChild.remove();
    if (atEnd || data.from === this.#own) log.scrollTop = log.scrollHeight;
    if (this.#ui.side.hidden && data.from !== this.#own) this.#count(this.#unread + 1);
  }

  #nameOf(id, name) { return name || t(id === this.#own ? "You" : "Somebody"); }

  #count(unread) {
    this.#unread = unread;
    this.#ui.chat.textContent = unread ? t("Chat ({unread} new)", { unread }) : t("Chat");
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
