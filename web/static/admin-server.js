// The server as the admin page uses it: the public API, and nothing else.
import { refusal } from "./problems.js";

// A stream of events that has ended is opened again after this long, in
// milliseconds.
const again = 3000;

// Who asks: kept here, and nowhere else.
let token = "";

/** Asks in the name of whoever a token was made for; "" is nobody. */
export function keep(given) { token = given; }

/** What the token says, or null without one. What is true of it the server knows. */
export function claims() {
  try {
    const [, body] = token.split(".");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(body.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0))));
  } catch {
    return token ? {} : null;
  }
}

const bearer = () => token ? { Authorization: `Bearer ${token}` } : {};

/** The address of a room, or of something of it. */
export const roomPath = (room, rest = "") => `/v1/rooms/${encodeURIComponent(room)}${rest}`;

async function call(method, path, body, headers = {}) {
  const patch = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  const response = await fetch(path, {
    method, body: body && JSON.stringify(body),
    headers: { ...bearer(), ...(body && { "Content-Type": patch }), ...headers },
  });
  if (!response.ok) throw await refusal(response);
  return response;
}

/** A document. Throws an Error with the server's words, status and code; so do the others here. */
export const get = async (path) => (await call("GET", path)).json();

/** Changes something; resolves to the document that is answered, or null. */
export async function send(method, path, body) {
  const response = await call(method, path, body);
  return response.status === 204 ? null : response.json();
}

/** A picture, as an address for an <img>, to be revoked. */
export const picture = async (path) => URL.createObjectURL(await (await call("GET", path)).blob());

/** All of a list, page by page. */
export async function all(path) {
  const items = [];
  for (let token = ""; ;) {
    const page = await get(`${path}?${new URLSearchParams({ limit: 1000, ...(token && { pageToken: token }) })}`);
    items.push(...page.items);
    token = page.nextPageToken;
    if (!token) return items;
  }
}

/** An address of a recording of a room, for a <video> or a link, which send no headers. */
export async function open(path, room) {
  if (!token) return path;
  const made = await send("POST", roomPath(room, "/tokens"), { scope: "recordings" });
  return `${path}${path.includes("?") ? "&" : "?"}token=${encodeURIComponent(made.token)}`;
}

/** Puts a link that lets people join a room where it can be pasted from. */
export async function copyLink(room) {
  const page = `/r/${encodeURIComponent(room)}`;
  const { link } = token ? await send("POST", roomPath(room, "/tokens"), {}) : { link: page };
  const whole = new URL(link, location.href).href;
  // Browsers have no clipboard for pages that came by plain HTTP from elsewhere.
  try {
    await navigator.clipboard.writeText(whole);
  } catch {
    throw new Error(whole);
  }
}

/**
 * Calls happened with each event of a stream, and goes on until signal aborts.
 * It reads the stream itself, since an EventSource sends no headers.
 */
export async function follow(path, happened, signal) {
  while (!signal.aborted) {
    try {
      const response = await fetch(path, { headers: { ...bearer(), Accept: "text/event-stream" }, signal });
      if (!response.ok) throw await refusal(response);
      let rest = "";
      for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) if (line.startsWith("data: ")) happened(JSON.parse(line.slice(6)));
      }
    } catch (error) {
      // Who may not follow looks at the state every few seconds all the same.
      if (error.status === 401 || error.status === 403) return;
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, again));
  }
}
