// @ts-check
/** Zero-phase filters, and the statistics that numpy has and JavaScript lacks, in double precision. What stands for a
 * recorded signal is rounded to single precision, as in Python. `(T,)` is an array of T samples. */

/** @typedef {ArrayLike<number>} Numbers */
/** @typedef {[number, number, number, number, number]} Section b0, b1, b2, a1, a2 of a second-order section; a0 is 1 */
/** @typedef {"lowpass" | "highpass" | "bandpass"} Kind */

/** @type {Record<Kind, [number, number, number]>} */
const NUMERATOR = { lowpass: [1, 2, 1], highpass: [1, -2, 1], bandpass: [1, 0, -1] };

/**
 * A Butterworth filter in second-order sections, by the bilinear transform.
 * @param {number} order Of the low-pass prototype; even.
 * @param {number[]} cutoffs One frequency in Hz, or two for a band. @param {Kind} kind
 * @param {number} rate Sampling rate, Hz. @returns {Section[]}
 */
export function butterworth(order, cutoffs, kind, rate) {
  const warped = cutoffs.map((hertz) => 4 * Math.tan((Math.PI * hertz) / rate));
  const centre = Math.sqrt(warped[0] * warped[warped.length - 1]);
  const summit = kind === "lowpass" ? 0 : kind === "highpass" ? Math.PI : 2 * Math.atan(centre / 4); // gain 1
  const width = kind === "bandpass" ? warped[1] - warped[0] : centre;
  return Array.from({ length: order / 2 }, (_, k) => (Math.PI * (2 * k + 1)) / (2 * order)).flatMap((angle) => {
    const [re, im] = [-width * Math.cos(angle), width * Math.sin(angle)]; // the same for high-pass and low-pass
    const poles = kind === "bandpass" ? bandPoles(re / 2, im / 2, centre) : [[re, im]];
    return poles.map((pole) => section(pole[0], pole[1], NUMERATOR[kind], summit));
  });
}

/** Both poles q ± √(q² − ω²). @param {number} re @param {number} im @param {number} centre ω */
function bandPoles(re, im, centre) {
  const [a, b] = [re * re - im * im - centre * centre, 2 * re * im];
  const size = Math.hypot(a, b);
  const [x, y] = [Math.sqrt(Math.max(0, (size + a) / 2)), Math.sign(b || 1) * Math.sqrt(Math.max(0, (size - a) / 2))];
  return [[re + x, im + y], [re - x, im - y]];
}

/** Of an analogue pole and its conjugate, with a gain of 1 at `summit` (radians a sample). @param {number} re
 * @param {number} im @param {[number, number, number]} zeros @param {number} summit @returns {Section} */
function section(re, im, zeros, summit) {
  const size = (4 - re) ** 2 + im * im;
  const [x, y] = [(16 - re * re - im * im) / size, (8 * im) / size]; // z = (4 + s) / (4 - s)
  const [a1, a2] = [-2 * x, x * x + y * y];
  const gain = magnitude([1, a1, a2], summit) / magnitude(zeros, summit);
  return [gain * zeros[0], gain * zeros[1], gain * zeros[2], a1, a2];
}

/** @param {[number, number, number]} c Coefficients of 1, z⁻¹, z⁻². @param {number} angle Radians a sample. */
function magnitude(c, angle) {
  const re = c[0] + c[1] * Math.cos(angle) + c[2] * Math.cos(2 * angle);
  return Math.hypot(re, c[1] * Math.sin(angle) + c[2] * Math.sin(2 * angle));
}

/** Takes out one frequency. @param {number} hertz Centre. @param {number} q Centre over the −3 dB width.
 * @param {number} rate Hz. @returns {Section[]} */
export function notch(hertz, q, rate) {
  const angle = (2 * Math.PI * hertz) / rate;
  const gain = 1 / (1 + Math.tan(angle / q / 2));
  const middle = -2 * gain * Math.cos(angle);
  return [[gain, middle, gain, middle, 2 * gain - 1]];
}

/**
 * Filter forwards and backwards. The ends are continued by their point reflection, and the filter starts settled.
 * @param {Section[]} sections @param {Numbers} x `(T,)`, T above `pad`.
 * @param {number} [pad] Samples that each end is continued by.
 * @returns {Float64Array} `(T,)`
 */
export function sosfiltfilt(sections, x, pad = 3 * (2 * sections.length + 1)) {
  const n = x.length;
  const y = new Float64Array(n + 2 * pad);
  y.set(x, pad);
  for (let i = 1; i <= pad; i++) {
    y[pad - i] = 2 * x[0] - x[i];
    y[pad + n - 1 + i] = 2 * x[n - 1] - x[n - 1 - i];
  }
  sosfilt(sections, y);
  sosfilt(sections, y.reverse());
  return y.reverse().slice(pad, pad + n);
}

/** In place, from what a constant of the first sample leaves. @param {Section[]} sections @param {Float64Array} y */
function sosfilt(sections, y) {
  let level = y[0];
  for (const [b0, b1, b2, a1, a2] of sections) {
    const settled = (level * (b0 + b1 + b2)) / (1 + a1 + a2);
    let last = b2 * level - a2 * settled;
    let next = b1 * level - a1 * settled + last;
    for (let i = 0; i < y.length; i++) {
      const [into, out] = [y[i], b0 * y[i] + next];
      next = b1 * into - a1 * out + last;
      last = b2 * into - a2 * out;
      y[i] = out;
    }
    level = settled;
  }
}

/**
 * Filter a recorded signal both ways, its ends continued for a period of the slowest frequency where there is room; NaN
 * is bridged before and put back after.
 * @param {Numbers} values `(T,)` @param {number} rate Hz. @param {number} order Even. @param {number[]} cutoffs Hz.
 * @param {Kind} kind @returns {Float32Array} `(T,)`
 */
export function zeroPhase(values, rate, order, cutoffs, kind) {
  const highest = cutoffs[cutoffs.length - 1];
  if (!(highest < rate / 2)) throw new Error(`A filter at ${highest} Hz needs over ${2 * highest} Hz; got ${rate} Hz.`);
  const sections = butterworth(order, cutoffs, kind, rate);
  const [least, n] = [6 * sections.length + 3, values.length];
  if (n <= least) throw new Error(`A filter needs more than ${least} samples; got ${n}; record for longer.`);
  const { filled, missing } = bridge(values);
  const passed = sosfiltfilt(sections, filled, Math.min(n - 1, Math.max(least, round(rate / cutoffs[0]))));
  return Float32Array.from(passed, (value, i) => (missing[i] ? NaN : value));
}

/** Fill what is missing by straight lines; ends are held, nothing at all is 0. @param {Numbers} values NaN where
 * nothing was recorded, `(T,)`. @returns {{filled: Float64Array, missing: Uint8Array}} 1 where it was missing. */
export function bridge(values) {
  const filled = Float64Array.from(values);
  const missing = Uint8Array.from(filled, (value) => (Number.isFinite(value) ? 0 : 1));
  if (!missing.includes(1)) return { filled, missing };
  if (!missing.includes(0)) return { filled: filled.fill(0), missing };
  const index = Array.from(filled.keys());
  const known = index.filter((i) => !missing[i]);
  return { filled: interp(index, known, known.map((i) => filled[i])), missing };
}

/** Median of a window around each sample, with zeros beyond the ends. @param {Numbers} x `(T,)`
 * @param {number} size Of the window, odd, samples. @returns {Float64Array} `(T,)` */
export function runningMedian(x, size) {
  const reach = size >> 1;
  const at = (/** @type {number} */ i) => x[i] ?? 0;
  const held = Float64Array.from({ length: size }, (_, k) => at(k - reach)).sort();
  return Float64Array.from(x, (_, i) => {
    const middle = held[reach];
    let [k, fresh] = [held.indexOf(at(i - reach)), at(i + reach + 1)]; // the oldest gives way to the next
    for (; k + 1 < size && held[k + 1] < fresh; k++) held[k] = held[k + 1];
    for (; k > 0 && held[k - 1] > fresh; k--) held[k] = held[k - 1];
    held[k] = fresh;
    return middle;
  });
}

/** Middle value, or the mean of the two; NaN of none. @param {Numbers} values */
export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** By straight lines between the sorted values. @param {Numbers} values @param {number} percent 0 to 100. */
export function percentile(values, percent) {
  const sorted = Float64Array.from(values).sort();
  const place = (percent / 100) * (sorted.length - 1);
  const below = Math.floor(place);
  const [low, high, part] = [sorted[below], sorted[Math.min(below + 1, sorted.length - 1)], place - below];
  return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
}

/** @param {Numbers} values */
export function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

/** @param {Numbers} values */
export const mean = (values) => sum(values) / values.length;

/** Steps from each value to the next. @param {Numbers} x @returns {Float64Array} */
export const differences = (x) => Float64Array.from({ length: Math.max(0, x.length - 1) }, (_, i) => x[i + 1] - x[i]);

/** To the nearest bound where outside. @param {number} x @param {number} low @param {number} high */
export const clip = (x, low, high) => Math.min(Math.max(x, low), high);

/** To the nearest whole number, halves to the even one, as Python does. @param {number} x */
export function round(x) {
  const near = Math.round(x);
  return Math.abs(x % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

/** Straight lines through points; the ends are held. @param {Numbers} x Where, in rising order. @param {Numbers} at Of
 * the points, in rising order, one or more. @param {Numbers} values There. @returns {Float64Array} */
export function interp(x, at, values) {
  const last = at.length - 1;
  let j = 0;
  return Float64Array.from(x, (place) => {
    while (j < last && at[j + 1] <= place) j++;
    const slope = j < last && place > at[j] ? (values[j + 1] - values[j]) / (at[j + 1] - at[j]) : 0;
    return slope ? slope * (place - at[j]) + values[j] : values[j];
  });
}
