// What the server's refusals mean, in words for whoever reads them: a sentence
// for each code of a problem document (RFC 9457), which says what to do.
import { t } from "./i18n.js";

/** English by code. {detail} is what the server said of the case at hand. */
export const words = {
  "bad-fragment": "The connection could not be renewed. Reload the page.",
  "bad-json": "The page and the server do not understand each other. Reload the page.",
  "bad-range": "The recording does not have that part.",
  "bad-request": "The server does not understand this: {detail}",
  "bad-sdp": "The server does not understand this browser. Update the browser, then try again.",
  "banned": "You may not enter this room any more.",
  "conflict": "That is not possible now: {detail}",
  "drained": "The server was shut down. Try again in a minute.",
  "draining": "The server is about to restart. Try again in a minute.",
  "forbidden": "You may not do this here.",
  "foreign-page": "This server has no keys, so it serves its own machine only. Open it by localhost, or make a key.",
  "full": "The room is full. Try again when somebody has left.",
  "gone": "That is over: {detail}",
  "internal": "The server failed. Try again; its log says more.",
  "invalid": "The server does not take this: {detail}",
  "kicked": "You were removed from the room.",
  "locked": "You may not enter this room: it is locked. Ask somebody inside to open it.",
  "method-not-allowed": "The page and the server are of different versions. Reload the page.",
  "no-keys": "This server has no keys: whoever reaches it may enter.",
  "no-such-ban": "They are not banned any more.",
  "no-such-group": "There is no such group any more.",
  "no-such-input": "That file is not being played any more.",
  "no-such-layout": "You have no picture of your own any more.",
  "no-such-participant": "They have left the room.",
  "no-such-recording": "There is no such recording any more.",
  "no-such-room": "There is no such room. Check the link, or ask who sent it to you.",
  "no-such-route": "The page and the server are of different versions. Reload the page.",
  "no-such-session": "The server does not know this connection any more. Join again.",
  "no-usable-codec": "This browser and the server have no common way to code sound and pictures. Try another browser.",
  "not-found": "There is no such thing any more.",
  "not-kept": "That is done, but may be lost when the server restarts.",
  "not-listening": "They cannot read messages.",
  "overloaded": "The server has no capacity left. Try again in a moment, or ask for a smaller meeting.",
  "pin": "That is not the PIN of this room.",
  "precondition-failed": "Somebody else has changed this meanwhile. Try again.",
  "precondition-required": "The page and the server are of different versions. Reload the page.",
  "recording-active": "The room is being recorded already.",
  "replaced": "You have joined from another window or device. This one has left.",
  "room-closed": "The meeting has ended.",
  "room-empty": "There is nobody in the room.",
  "room-exists": "There is a room of this name already.",
  "stays-muted": "Only a host can unmute you here.",
  "storage-full": "There is no space left for recordings.",
  "timeout": "Your connection is too slow: the server waited in vain. Try again.",
  "too-large": "That is too long.",
  "too-many-joins": "Too many people are joining from your network at once. Wait a moment, then try again.",
  "too-many-layouts": "The picture was rearranged too often. Wait a moment.",
  "too-many-messages": "You are writing too fast. Wait a moment.",
  "too-many-pins": "Too many wrong PINs. Wait a minute, then try again.",
  "too-many-restarts": "Your network changes too often. Wait a moment.",
  "too-many-streams": "Too many windows of your network are following this server. Close some.",
  "too-many-viewers": "Too many people are watching this room. Try again later.",
  "unauthenticated": "You need a link that lets you in: this one has none, or it has expired. Ask for a new one.",
  "unavailable": "The server cannot do this now. Try again in a moment.",
  "unsupported-media-type": "The page and the server are of different versions. Reload the page.",
  "vanished": "Your connection was lost for too long. Join again.",
  "waiting-room": "You have not been let in yet.",
};

/** What a problem document says, for people. */
export function wordsOf(problem) {
  const { code, title, detail, errors } = problem ?? {};
  const said = detail || errors?.map((e) => e.detail).filter(Boolean).join("; ") || title || "";
  if (!Object.hasOwn(words, code)) return said || t("The server refused.");
  return t(words[code], { detail: said });
}

/** The server's refusal, as an Error: its message is for people; it has status and code. */
export async function refusal(response) {
  // Not a problem document: somebody between us and the server has answered.
  const problem = await response.json().catch(() => ({ title: `${response.status} ${response.statusText}`.trim() }));
  return Object.assign(new Error(wordsOf(problem)), { status: response.status, code: problem.code ?? "" });
}

/** Why a request came to nothing, for people: a refusal's words, or that there was no answer at all. */
export function reason(error) {
  return error.status ? error.message : t("The server cannot be reached. Check the network, then try again.");
}
