// What the server asks this client to send: no more than its tiles can show. The
// sender's encoder is told, so the camera itself need not be opened anew.

/** What is sent before the server has said anything: enough for a meeting of a few. */
export const atFirst = { width: 640, height: 360, fps: 30, bitrate: 750_000, paused: false };

/**
 * By how much to divide a picture of width x height so that it fits the target.
 * Browsers round what comes of it to whole sides. It is chosen to give even ones:
 * odd ones blur the colours.
 */
export function scaleFor(width, height, target) {
  if (!width || !height) return 1;
  const fits = (size, limit) => !limit || size <= limit;
  if (fits(width, target.width) && fits(height, target.height)) return 1;
  const highest = Math.min(height, target.height || height);
  for (let rows = highest - (highest % 2); rows >= 2; rows -= 2) {
    const exact = (width * rows) / height;
    const columns = Math.floor(exact) - (Math.floor(exact) % 2);
    if (!fits(columns, target.width)) continue;
    // If that many rows give too many columns, a little less than that many rows.
    const scale = Math.max(height / rows, width / (columns + 0.49));
    if (Math.round(height / scale) === rows) return Math.max(1, scale);
  }
  return Math.max(1, width / (target.width || width), height / (target.height || height));
}

/** An encoding as the target wants it of a picture of that size. */
export function encodingFor(target, { width, height }) {
  const encoding = { active: !target.paused, scaleResolutionDownBy: scaleFor(width, height, target) };
  if (target.fps) encoding.maxFramerate = target.fps;
  if (target.bitrate) encoding.maxBitrate = target.bitrate;
  return encoding;
}

/**
 * Keeps one sender to its target. A target outlives the track: whatever is sent
 * next is kept to it as well.
 */
export class Limiter {
  #sender; #target; #poor = 0; #told = ""; #work = Promise.resolve();

  constructor(sender, target) {
    this.#sender = sender;
    this.#target = target;
  }

  /** Takes a new target, or sees to it that a new track is kept to the old one. */
  apply(target = this.#target) {
    if (target !== this.#target) this.#poor = 0;
    this.#target = target;
    // One at a time: parameters that are read must be the ones that are set next.
    this.#work = this.#work.then(() => this.#set()).catch(() => { this.#told = ""; });
    return this.#work;
  }

  /** Looks at the track's size anew, and at what the path carries, in bits/s; undefined is not known. */
  look(room) {
    this.#poor = room < this.#target.bitrate / 2 ? this.#poor + 1 : 0;
    return this.apply();
  }

  async #set() {
    const size = this.#sender.track?.getSettings();
    if (!size) return;
    const wanted = encodingFor(this.#target, size);
    // Browsers make a picture that has just grown smaller when its first pictures
    // are poor, and take ten seconds to try again. This one is as small as it may
    // be; only a path that keeps carrying less than half of it changes that.
    const degradationPreference = this.#poor < 2 ? "maintain-resolution" : "balanced";
    const told = JSON.stringify([wanted, degradationPreference]);
    if (told === this.#told) return;
    const parameters = this.#sender.getParameters();
    const [encoding] = parameters.encodings ?? [];
    if (!encoding) return; // not negotiated yet, or never
    delete encoding.maxFramerate;
    delete encoding.maxBitrate;
    Object.assign(encoding, wanted);
    await this.#sender.setParameters({ ...parameters, degradationPreference });
    this.#told = told;
  }
}
