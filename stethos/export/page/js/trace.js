/** An ECG on millimetre paper: on screen with scrolling and zoom, and as rows at true size for print. */

import { element } from "./report.js";
import { say, number } from "./words.js";

/** @import {Contributions, Shown} from './types.d.ts' */
/** @typedef {CanvasRenderingContext2D} Pen */
/** @typedef {typeof PRINTED} Colours */
/** `dense`: of the canvas, pixels of the device in one.
 * @typedef {{recording: Shown, start: number, zoom: number, width: number, full: number, dense: number, colours: Colours}} Stretch */
/** Of a stretch, pixels of its traces' height and of a second, and where a voltage lies.
 * @typedef {Stretch & {height: number, perSecond: number, at: (millivolts: number) => number}} View */

const MM = 96 / 25.4; // CSS pixels
const [SPEED, GAIN] = [25, 10]; // mm/s; mm/mV
const ZOOMS = [0.25, 0.5, 1, 2, 4];
const [RIBBON, VERDICT] = [40, 20]; // pixels of contributions under the trace; of quality under them
const FAINT = 0.05; // of the largest contribution: what is less is not coloured
const PRINTED = { ink: "#000", soft: "#444", paper: "#fff", fine: "#f6dcd6", coarse: "#e3b0a5", raise: "#b84a00", lower: "#005a8f", refused: "#d9d5ce", warn: "#8a3a00", good: "#1c6b4a" };
const SMALL = "11px system-ui, sans-serif";
const [ROW, MOST] = [6, 30]; // s on paper: of a row, 150 mm of the 174 that A4 leaves; of all
const FINE = 4; // pixels in one of CSS on paper: Chromium prints in 64ths, and a third would come out as 21 of them

/** Millimetres that a recording needs in height, in large squares. @param {Shown} recording */
function tall(recording) {
  const span = Math.min(recording.high - recording.low, 8) || 0;
  return Math.max(35, Math.ceil((span * GAIN + 8) / 5) * 5);
}

/** Lines as rectangles: as one path they take four times as long. @param {Pen} pen @param {View} view */
function paintGrid(pen, view) {
  for (const [every, colour, thick] of /** @type {const} */ ([[1, view.colours.fine, 0.5], [5, view.colours.coarse, 0.9]])) {
    const step = every * MM * view.zoom;
    if (step < 2.5) continue;
    pen.fillStyle = colour;
    for (let x = -((view.start * view.perSecond) % step); x <= view.width; x += step) pen.fillRect(x - thick / 2, 0, thick, view.height);
    for (let y = 0; y <= view.height; y += step) pen.fillRect(0, y - thick / 2, view.width, thick);
  }
}

/** Adds the samples that `wanted` accepts to the path; of more than one a pixel of the device, their extremes as they come.
 * @param {Pen} pen @param {View} view @param {(i: number) => boolean} wanted */
function addSamples(pen, view, wanted) {
  const { values, rate } = view.recording;
  const every = Math.max(1, Math.floor(rate / view.perSecond / view.dense));
  const first = Math.max(0, Math.floor((view.start * rate) / every) - 1) * every; // the same groups wherever one scrolls
  const last = Math.min(values.length, Math.ceil((view.start + view.width / view.perSecond) * rate) + 2);
  let down = false;
  for (let i = first; i < last; i += every) {
    let low = i, high = i;
    for (let j = i + 1; j < Math.min(i + every, last); j++) {
      if (values[j] < values[low]) low = j;
      if (values[j] > values[high]) high = j;
    }
    if (!Number.isFinite(values[i]) || !wanted(i)) { down = false; continue; }
    for (const j of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      pen[down ? "lineTo" : "moveTo"]((j / rate - view.start) * view.perSecond, view.at(values[j]));
      down = true;
    }
  }
}

/** @param {Pen} pen @param {View} view @param {string} colour @param {number} width
 * @param {(i: number) => boolean} wanted */
function paintLine(pen, view, colour, width, wanted = () => true) {
  Object.assign(pen, { strokeStyle: colour, lineWidth: width, lineJoin: "bevel" });
  pen.beginPath();
  addSamples(pen, view, wanted);
  pen.stroke();
}

/** @param {Pen} pen @param {View} view @param {Contributions} found */
function paintContributions(pen, view, { start, rate, curve, largest }) {
  const share = (/** @type {number} */ second) => (curve[Math.round((second - start) * rate)] ?? 0) / largest;
  const base = view.height + RIBBON / 2, wide = Math.max(1, view.perSecond / rate);
  for (const [colour, sign] of /** @type {const} */ ([[view.colours.raise, 1], [view.colours.lower, -1]])) {
    paintLine(pen, view, colour, 2.6, (i) => sign * share(i / view.recording.rate) > FAINT);
    pen.fillStyle = colour;
    for (let x = 0; x < view.width; x += wide) {
      const size = sign * share(view.start + x / view.perSecond) * (RIBBON / 2 - 3);
      if (size > FAINT * (RIBBON / 2 - 3)) pen.fillRect(x, sign > 0 ? base - size : base, wide, size);
    }
  }
  pen.fillStyle = view.colours.soft;
  pen.fillRect(0, base, view.width, 0.5);
}

/** Whether a window is used, and why not. @param {import("./quality.js").Window} window */
export function verdictOf({ ok, score, reason }) {
  return ok ? say("good", { score: number(score, 2) }) : say("refused", { reason: say(`reason_${reason}`) });
}

/** @param {Pen} pen @param {View} view */
function paintVerdicts(pen, view) {
  const top = view.full - VERDICT;
  Object.assign(pen, { font: SMALL, textBaseline: "middle" });
  for (const window of view.recording.windows ?? []) {
    const x = (window.start - view.start) * view.perSecond, wide = (window.stop - window.start) * view.perSecond;
    if (x > view.width || x + wide < 0) continue;
    if (!window.ok) {
      Object.assign(pen, { globalAlpha: 0.45, fillStyle: view.colours.refused });
      pen.fillRect(x, 0, wide, view.height);
      pen.globalAlpha = 1;
    }
    pen.fillStyle = window.ok ? view.colours.good : view.colours.warn;
    pen.fillRect(x + 1, top, wide - 2, 4);
    pen.fillText(verdictOf(window), Math.max(x, 0) + 6, top + 13);
  }
}

/** @param {Pen} pen @param {View} view */
function paintTime(pen, view) {
  Object.assign(pen, { fillStyle: view.colours.soft, font: SMALL, textBaseline: "top" });
  const every = Math.max(1, Math.ceil(40 / view.perSecond));
  const end = Math.min(view.start + view.width / view.perSecond, view.recording.seconds);
  for (let s = Math.ceil(view.start / every) * every; s <= end; s += every) pen.fillText(`${number(s)} s`, (s - view.start) * view.perSecond + 3, 3);
}

/** @param {Pen} pen @param {View} view */
function paintWatermark(pen, view) {
  pen.save();
  Object.assign(pen, { globalAlpha: 0.16, fillStyle: view.colours.warn, font: "700 24px system-ui, sans-serif", textBaseline: "middle" });
  for (let x = 16 - ((view.start * view.perSecond) % 380); x < view.width; x += 380) pen.fillText(say("watermark"), x, view.height - 22);
  pen.restore();
}

/** Paints one stretch of a recording. @param {Pen} pen @param {Stretch} stretch */
function paint(pen, stretch) {
  const { recording, full, zoom } = stretch, middle = (recording.high + recording.low) / 2;
  const height = full - VERDICT - (recording.contributions ? RIBBON : 0);
  const at = (/** @type {number} */ millivolts) => height / 2 - (millivolts - middle) * GAIN * MM * zoom;
  const view = { ...stretch, height, perSecond: SPEED * MM * zoom, at };
  pen.fillStyle = view.colours.paper;
  pen.fillRect(0, 0, view.width, view.full);
  paintGrid(pen, view);
  if (view.recording.marked) paintWatermark(pen, view);
  paintVerdicts(pen, view);
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, view.width, view.height);
  pen.clip();
  paintLine(pen, view, view.colours.ink, 1.3);
  pen.restore();
  if (view.recording.contributions) paintContributions(pen, view, view.recording.contributions);
  paintTime(pen, view);
}

/** Puts the recording on paper: rows of 6 s at 25 mm/s and 10 mm/mV, at most 30 s. @param {Element} host @param {Shown} recording */
export function onPaper(host, recording) {
  const rows = [];
  const extra = (VERDICT + (recording.contributions ? RIBBON : 0)) / MM; // mm
  const shown = Math.min(recording.seconds, MOST);
  for (let start = 0; start < shown - 0.01; start += ROW) {
    const seconds = Math.min(ROW, shown - start), height = tall(recording) + extra;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: seconds * SPEED * MM * FINE, height: height * MM * FINE });
    Object.assign(canvas.style, { width: `${seconds * SPEED}mm`, height: `${height}mm` });
    const pen = penOf(canvas);
    pen.scale(FINE, FINE);
    paint(pen, { recording, start, zoom: 1, width: seconds * SPEED * MM, full: height * MM, dense: FINE, colours: PRINTED });
    rows.push(canvas);
  }
  const text = scaleWords(1) + (shown < recording.seconds - 0.01 ? ` ${say("first_shown", { seconds: number(shown) })}` : "");
  host.replaceChildren(...rows, element("p", { class: "small", text }));
}

/** @param {HTMLCanvasElement} canvas */
const penOf = (canvas) => /** @type {Pen} */ (canvas.getContext("2d"));

/** What the squares mean at a zoom. @param {number} zoom */
export function scaleWords(zoom) {
  const small = zoom * MM < 2.5 ? 5 : 1;
  return say("scale", { speed: number(SPEED * zoom, 2), gain: number(GAIN * zoom, 2), ms: number(0.04 * small, 2), mv: number(0.1 * small, 1) });
}

/** The trace on screen. `moved` is called after every change of what is shown. */
export class Trace {
  start = 0; // seconds
  zoom = 1;
  waiting = 0;
  apart = 0; // pixels between two fingers
  /** @type {Shown | null} */
  recording = null;
  /** Where each is, in pixels. @type {Map<number, number>} */
  fingers = new Map();

  /** @param {HTMLElement} host Holds a canvas.
   * @param {(shown: {start: number, span: number, zoom: number, recording: Shown}) => void} moved */
  constructor(host, moved) {
    this.host = host;
    this.moved = moved;
    this.canvas = /** @type {HTMLCanvasElement} */ (host.querySelector("canvas"));
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    host.addEventListener("pointerdown", (event) => this.#touch(event));
    host.addEventListener("pointermove", (event) => this.#drag(event));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) host.addEventListener(end, (event) => this.fingers.delete(event.pointerId));
    new ResizeObserver(() => this.redraw()).observe(host);
  }

  /** Seconds that fit on the screen. */
  get span() {
    return this.host.clientWidth / (SPEED * MM * this.zoom);
  }

  /** @param {Shown} recording @param {number} start Seconds. */
  show(recording, start = this.start) {
    this.recording = recording;
    this.scroll(start);
  }

  /** @param {number} start Seconds. */
  scroll(start) {
    this.start = Math.max(0, Math.min(start, (this.recording?.seconds ?? 0) - this.span));
    this.redraw();
  }

  /** @param {number} steps @param {number} centre What stays in place, from 0 at the left to 1. */
  zoomBy(steps, centre = 0.5) {
    const place = Math.max(0, Math.min(ZOOMS.length - 1, ZOOMS.indexOf(this.zoom) + steps));
    const kept = this.start + this.span * centre;
    this.zoom = ZOOMS[place];
    this.scroll(kept - this.span * centre);
  }

  /** Soon, in a task of its own, which with that of the next frame would be a long one. */
  redraw() {
    this.waiting ||= setTimeout(() => { this.waiting = 0; this.#draw(); });
  }

  /** What is asked of the layout is asked before anything is changed: it would have to be made anew. */
  #draw() {
    const { recording, canvas, host, start, zoom, span } = this, width = host.clientWidth;
    if (!recording || !width) return;
    const style = getComputedStyle(host);
    const named = Object.keys(PRINTED).map((name) => [name, style.getPropertyValue(`--${name}`).trim()]);
    const colours = /** @type {Colours} */ (Object.fromEntries(named));
    const full = tall(recording) * MM * Math.min(zoom, 2) + VERDICT + (recording.contributions ? RIBBON : 0);
    const dense = Math.min(window.devicePixelRatio || 1, 3), size = [width, full].map((side) => Math.round(side * dense));
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    canvas.style.height = `${full}px`;
    const pen = penOf(canvas);
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    paint(pen, { recording, start, zoom, width, full, dense, colours });
    this.moved({ start, span, zoom, recording });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    /** @type {Record<string, number>} */
    const moves = { ArrowLeft: -0.2, ArrowRight: 0.2, PageUp: -0.9, PageDown: 0.9 };
    if (event.key in moves) this.scroll(this.start + moves[event.key] * this.span);
    else if (event.key === "Home") this.scroll(0);
    else if (event.key === "End") this.scroll(this.recording?.seconds ?? 0);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1);
    else if (event.key === "-") this.zoomBy(-1);
    else return;
    event.preventDefault();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    const sideways = event.deltaX || (event.shiftKey ? event.deltaY : 0);
    if (event.ctrlKey || event.metaKey) this.zoomBy(-Math.sign(event.deltaY), event.offsetX / this.host.clientWidth);
    else if (sideways) this.scroll(this.start + sideways / (SPEED * MM * this.zoom));
    else return;
    event.preventDefault();
  }

  /** @param {PointerEvent} event */
  #touch(event) {
    this.host.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, event.clientX);
    this.apart = this.#apart();
  }

  #apart() {
    const [a, b] = this.fingers.values();
    return this.fingers.size === 2 ? Math.abs(a - b) : 0;
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    const before = this.fingers.get(event.pointerId);
    if (before === undefined) return;
    this.fingers.set(event.pointerId, event.clientX);
    if (this.fingers.size === 1) return this.scroll(this.start - (event.clientX - before) / (SPEED * MM * this.zoom));
    const ratio = this.#apart() / (this.apart || 1);
    if (ratio > 1.5 || ratio < 0.67) {
      this.zoomBy(ratio > 1 ? 1 : -1);
      this.apart = this.#apart();
    }
  }
}
