// One's own camera, painted over one's own tile: a mirror without the delay of
// the way to the server and back. The server says where the tile is.

/**
 * Where, inside a stage of width x height, the tile of a participant's camera is,
 * when a picture of the layout's canvas is fitted into the stage: {left, top, width,
 * height}, fill, whether the picture is cropped to it, and holes, the parts of it
 * (from its own corner) that other tiles cover. null where it is not shown.
 */
export function tileOf(layout, participant, { width, height }) {
  const { canvas, shown } = layout;
  const own = shown.findLastIndex((t) => t.participant === participant && t.source === "camera");
  if (own < 0 || !width || !height) return null;
  const tile = shown[own];
  const scale = Math.min(width / canvas.width, height / canvas.height);
  const edge = { left: (width - canvas.width * scale) / 2, top: (height - canvas.height * scale) / 2 };
  const holes = [];
  for (const over of shown.slice(own + 1)) { // they are in the order of drawing
    const left = Math.max(tile.x, over.x), right = Math.min(tile.x + tile.width, over.x + over.width);
    const top = Math.max(tile.y, over.y), bottom = Math.min(tile.y + tile.height, over.y + over.height);
    if (left < right && top < bottom) {
      holes.push({ left: (left - tile.x) * scale, top: (top - tile.y) * scale, width: (right - left) * scale, height: (bottom - top) * scale });
    }
  }
  return { left: edge.left + tile.x * scale, top: edge.top + tile.y * scale, width: tile.width * scale, height: tile.height * scale, fill: tile.fill, holes };
}

/** A path around a tile, without its holes, by the even-odd rule. */
function outline({ width, height, holes }) {
  const box = (x, y, w, h) => `M${x} ${y}h${w}v${h}h${-w}z`;
  return `path(evenodd, "${box(0, 0, width, height)}${holes.map((h) => box(h.left, h.top, h.width, h.height)).join("")}")`;
}

/** Keeps an element with a <video> in it over the tile. */
export class Overlay {
  #element; #video; #stage; #layout = null; #participant = ""; #track = null; #wanted = true;

  constructor(element, stage) {
    this.#element = element;
    this.#video = element.querySelector("video");
    this.#stage = stage;
    new ResizeObserver(() => this.#place()).observe(stage);
  }

  get wanted() { return this.#wanted; }
  set wanted(wanted) {
    this.#wanted = wanted;
    this.#place();
  }

  /** What is painted: a camera's track, or null. */
  show(track) {
    if (track !== this.#track) {
      this.#track = track;
      this.#video.srcObject = track && new MediaStream([track]);
    }
    this.#place();
  }

  /** Where: the layout of the picture that is watched, or null, and whose tile. */
  arrange(layout, participant) {
    this.#layout = layout;
    this.#participant = participant;
    this.#place();
  }

  #place() {
    const live = this.#wanted && this.#track?.enabled && this.#track.readyState === "live";
    const stage = { width: this.#stage.clientWidth, height: this.#stage.clientHeight };
    const tile = live && this.#layout?.canvas ? tileOf(this.#layout, this.#participant, stage) : null;
    this.#element.hidden = !tile;
    if (!tile) return;
    for (const side of ["left", "top", "width", "height"]) this.#element.style[side] = `${tile[side]}px`;
    this.#element.style.clipPath = tile.holes.length ? outline(tile) : "";
    this.#video.style.objectFit = tile.fill ? "cover" : "contain";
  }
}
