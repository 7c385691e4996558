// What the pages need of the DOM more than once.

/** An element; content are texts and elements. */
export function make(tag, properties = {}, ...content) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...content);
  return element;
}

/** Sets a text, unless it is that already: what has not changed is not read out again. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of parent those of items, in their order. A child stays the
 * same element for as long as key(item) is there, so that it keeps the focus;
 * where the focused one goes, its section's heading gets it. create(item)
 * returns the element, update(element, item) fills it in.
 */
export function list(parent, items, key, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = before.get(name);
    before.delete(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
    update(child, item);
  }
  for (const child of before.values()) {
    if (child.contains(document.activeElement)) child.closest("section")?.querySelector("h2, h3")?.focus();
    child.remove();
  }
}

/** Asks in a dialog; resolves to the text written, "" where none is asked for, or null for no. */
export class Ask {
  #dialog; #part; #answer = () => {};

  /** dialog has elements of these ids in it: -form -title -words -label -text -yes -no, after its own. */
  constructor(dialog) {
    this.#dialog = dialog;
    this.#part = (name) => document.getElementById(`${dialog.id}-${name}`);
    this.#part("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#answer(this.#part("label").hidden ? "" : this.#part("text").value.trim());
      dialog.close();
    });
    this.#part("no").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.open || this.#answer(null)); // it may be asking the next already
  }

  /** label asks for a text, which begins as value; without it the answer is yes or no. */
  ask({ title, words = "", yes, danger = false, label = "", value = "", maxLength = 256, optional = false, pattern = "", inputMode = "" }) {
    this.#part("title").textContent = title;
    this.#part("words").textContent = words;
    this.#part("yes").textContent = yes;
    this.#part("yes").className = danger ? "danger" : "primary";
    this.#part("label").hidden = !label;
    this.#part("label").firstElementChild.textContent = label;
    const text = this.#part("text");
    Object.assign(text, { value, maxLength, inputMode, required: Boolean(label) && !optional, disabled: !label });
    if (pattern) text.pattern = pattern;
    else text.removeAttribute("pattern"); // an empty one lets nothing through
    return new Promise((resolve) => {
      this.#answer = resolve;
      this.#dialog.showModal();
      (label ? text : this.#part("no")).focus(); // what cannot be undone wants one more step
      if (label) text.select();
    });
  }
}
