// Rooms by their names, and where their pages are.

/** A name that nobody else makes up. */
export function randomRoom() {
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  return Array.from(crypto.getRandomValues(new Uint8Array(10)), (b) => letters[b % letters.length]).join("");
}

/** The room that a page's path names, or "". */
export function roomOf(path) {
  const [, name = ""] = /^\/r\/([^/]+)$/.exec(path) ?? [];
  return decodeURIComponent(name);
}

/** The path of a room's page. */
export const pathOf = (room) => `/r/${encodeURIComponent(room)}`;
