// @ts-check
/** Named preparations: from the first window of a lead to what a network sees. Those of Python, number for number. */
import { bridge, butterworth, clip, mean, median, notch, percentile } from "./filters.js";
import { runningMedian, sosfiltfilt, zeroPhase } from "./filters.js";
import { crop, LACKING } from "./quality.js";
import { resample } from "./resample.js";

/** Rate in Hz, length in seconds, and what makes the window. */
export const PREPARATIONS = {
  "lead-v1": { rate: 125, seconds: 10, apply: leadV1 },
  "ecgfounder-v1": { rate: 500, seconds: 10, apply: ecgfounderV1 },
};

/** @typedef {keyof typeof PREPARATIONS} Name */

/**
 * Prepare the first 10 s of a lead; at least 9.9 s are needed.
 * @param {Name} name Of the preparation. @param {ArrayLike<number>} values mV, NaN where missing, `(T,)`.
 * @param {number} rate Hz.
 * @returns {Float32Array} 1250 samples at 125 Hz for "lead-v1", 5000 at 500 Hz for "ecgfounder-v1".
 */
export function prepare(name, values, rate) {
  const known = PREPARATIONS[name];
  if (!known) throw new Error(`A preparation is one of ${Object.keys(PREPARATIONS).join(", ")}; got ${name}.`);
  const [needed, lasts] = [known.seconds, values.length / rate];
  const short = lasts < (1 - LACKING) * needed;
  if (short) throw new Error(`The model needs ${needed} s of ECG; this has ${lasts.toFixed(2)} s; record longer.`);
  return known.apply(crop(values, rate, 0, needed), rate);
}

/** 0.5 to 40 Hz around the median, in units of the height of R, cut to ±5.
 * @param {Float32Array} x @param {number} rate */
function leadV1(x, rate) {
  const passed = zeroPhase(zeroPhase(x, rate, 2, [0.5], "highpass"), rate, 4, [40], "lowpass");
  const fitted = fit(resample(passed, rate, 125), 1250);
  const level = median(bridge(fitted).filled);
  const values = fitted.map((value) => (Number.isFinite(value) ? value - level : 0));
  const scale = percentile(values.map(Math.abs), 99);
  const highest = x.reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0);
  // a constant leaves rounding errors behind, which must not be blown up
  const still = scale <= 1e-6 * highest;
  return Float32Array.from(values, (value) => (still ? 0 : clip(value / scale, -5, 5)));
}

/** What the ECGFounder weights expect. @param {Float32Array} x @param {number} rate */
function ecgfounderV1(x, rate) {
  const known = fit(resample(x, rate, 500), 5000).map((value) => value || 0);
  const quiet = sosfiltfilt(notch(50, 30, 500), known, 9);
  const passed = sosfiltfilt(butterworth(4, [0.67, 40], "bandpass", 500), quiet, 27);
  const baseline = runningMedian(passed, 201);
  const values = passed.map((value, i) => value - baseline[i]);
  const level = mean(values);
  const spread = Math.sqrt(mean(values.map((value) => (value - level) ** 2)));
  return Float32Array.from(values, (value) => (value - level) / (spread + 1e-8));
}

/** Cut to a number of samples, or hold the last one. @param {Float32Array} x @param {number} samples */
const fit = (x, samples) => Float64Array.from({ length: samples }, (_, i) => x[Math.min(i, x.length - 1)]);
