// @ts-check
/** A log-mel spectrogram that grows with the sound, as `stethos.nn.mel` defines it, and its picture. */

const [RATE, WINDOW, HOP, FLOOR] = [16000, 2048, 512, 1e-10];
const [KNEE, MEL, STEP] = [1000, 200 / 3, Math.log(6.4) / 27]; // Slaney: linear to 1 kHz, 27 mels for a factor of 6.4
export const BANDS = 128;
const SHOWN = 70; // dB below the loudest so far
const TONES = [[10, 8, 30], [66, 18, 96], [158, 42, 99], [229, 92, 48], [252, 255, 164]]; // dark to light

const toMel = (/** @type {number} */ hertz) => (hertz < KNEE ? hertz / MEL : KNEE / MEL + Math.log(hertz / KNEE) / STEP);
const toHertz = (/** @type {number} */ mel) => (mel < KNEE / MEL ? mel * MEL : KNEE * Math.exp(STEP * (mel - KNEE / MEL)));
const taper = Float64Array.from({ length: WINDOW }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW));
const turns = Array.from({ length: WINDOW / 2 }, (_, n) => [Math.cos((2 * Math.PI * n) / WINDOW), -Math.sin((2 * Math.PI * n) / WINDOW)]);

const corners = Array.from({ length: BANDS + 2 }, (_, i) => toHertz((toMel(RATE / 2) * i) / (BANDS + 1)));
/** First bin and weights of each triangle, of unit area in Hz. */
const triangles = Array.from({ length: BANDS }, (_, b) => {
  const [left, peak, right] = corners.slice(b, b + 3), first = Math.ceil((left * WINDOW) / RATE);
  const count = Math.floor((right * WINDOW) / RATE) - first + 1;
  const rise = (/** @type {number} */ hertz) => Math.max(0, Math.min((hertz - left) / (peak - left), (right - hertz) / (right - peak)));
  return { first, weights: Float64Array.from({ length: count }, (_, i) => (2 / (right - left)) * rise(((first + i) * RATE) / WINDOW)) };
});

/** Power of the bins 0 to half of the window's length. @param {Float64Array} re Is changed. */
function power(re) {
  const im = new Float64Array(WINDOW);
  for (let i = 1, j = 0; i < WINDOW; i++) {
    let bit = WINDOW >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j]] = [re[j], re[i]];
  }
  for (let size = 2; size <= WINDOW; size *= 2) {
    for (let start = 0; start < WINDOW; start += size) {
      for (let n = 0; n < size / 2; n++) {
        const [c, s] = turns[(n * WINDOW) / size], a = start + n, b = a + size / 2;
        const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        re[b] = re[a] - x, im[b] = im[a] - y, re[a] += x, im[a] += y;
      }
    }
  }
  return re.subarray(0, WINDOW / 2 + 1).map((value, i) => value * value + im[i] * im[i]);
}

/** Sound that comes in pieces to columns in dB; a frame is ready once half a window beyond its centre is there. */
export class Columns {
  rest = new Float32Array(WINDOW / 2); // zeros before the first sample

  /** @param {Float32Array} values At 16 kHz. @returns {Float32Array} `(frames · BANDS,)`, a frame after the other. */
  push(values) {
    const all = new Float32Array(this.rest.length + values.length);
    all.set(this.rest), all.set(values, this.rest.length);
    const frames = Math.max(0, Math.floor((all.length - WINDOW) / HOP) + 1), out = new Float32Array(frames * BANDS);
    for (let t = 0; t < frames; t++) {
      const bins = power(taper.map((weight, n) => weight * all[t * HOP + n]));
      triangles.forEach(({ first, weights }, b) => {
        const sum = weights.reduce((total, weight, i) => total + weight * bins[first + i], 0);
        out[t * BANDS + b] = 10 * Math.log10(Math.max(sum, FLOOR));
      });
    }
    this.rest = all.slice(frames * HOP);
    return out;
  }

  /** The frames that need zeros after the last sample. */
  end() {
    return this.push(new Float32Array(WINDOW / 2));
  }
}

/** The last columns on a canvas, low bands at the bottom. */
export class Picture {
  loudest = -Infinity;

  /** @param {HTMLCanvasElement} canvas Its width is how many columns are shown. */
  constructor(canvas) {
    Object.assign(canvas, { height: BANDS });
    this.canvas = canvas;
    this.paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  }

  clear() {
    this.loudest = -Infinity;
    this.paper.clearRect(0, 0, this.canvas.width, BANDS);
  }

  /** @param {Float32Array} columns As `Columns.push` gives them. */
  add(columns) {
    const { width } = this.canvas, all = columns.length / BANDS, shown = Math.min(width, all);
    if (!shown) return;
    this.loudest = columns.reduce((most, value) => Math.max(most, value), this.loudest);
    this.paper.drawImage(this.canvas, -shown, 0);
    const image = this.paper.createImageData(shown, BANDS);
    for (let t = 0; t < shown; t++) {
      for (let b = 0; b < BANDS; b++) {
        const tone = 4 * Math.max(0, 1 + (columns[(all - shown + t) * BANDS + b] - this.loudest) / SHOWN), low = Math.min(3, Math.floor(tone));
        const colour = TONES[low].map((value, c) => value + (TONES[low + 1][c] - value) * (tone - low));
        image.data.set([...colour, 255], 4 * ((BANDS - 1 - b) * shown + t));
      }
    }
    this.paper.putImageData(image, width - shown, 0);
  }
}
