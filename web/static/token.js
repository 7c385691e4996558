// The token that an invite link carries in its fragment, /r/{room}#token=…, which
// browsers send to no server. It is kept in memory and goes into headers only.

import { refusal } from "./problems.js";

const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";

/** Whether the page has a token; a server without keys wants none. */
export const hasToken = () => token !== "";

/** The address of another page of ours, which is to have the token as well. */
export const withToken = (path) => token ? `${path}#token=${encodeURIComponent(token)}` : path;

/** fetch, in the name of whoever the token was made for. */
export function send(url, options = {}) {
  if (!token) return fetch(url, options);
  const headers = new Headers(options.headers);
  headers.set("Authorization", `Bearer ${token}`);
  return fetch(url, { ...options, headers });
}

/**
 * An address of this room for where headers cannot be set (EventSource, WebSocket,
 * links): with a token of its own for that scope alone, good for ten minutes.
 */
export async function urlFor(room, scope, url) {
  if (!token) return url;
  const response = await send(`/v1/rooms/${encodeURIComponent(room)}/tokens`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ scope }),
  });
  if (!response.ok) throw await refusal(response);
  return `${url}${url.includes("?") ? "&" : "?"}token=${(await response.json()).token}`;
}
