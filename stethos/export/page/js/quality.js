// @ts-check
/** Which stretches of a lead can be judged, and why the others cannot: short, missing, flat, clipped, lead off, noise.
 * What remains is scored by how far its beats stand out and how much their QRS complexes look alike. */
import { contrast, cutBeats, inverted, medianBeat, rPeaks, TINY } from "./beats.js";
import { clip, differences, mean, median, percentile, round, sum } from "./filters.js";

/** A stretch of a recording and whether it can be judged; times in seconds from the first sample.
 * @typedef {{start: number, stop: number, ok: boolean, reason: string, score: number, inverted: boolean}} Window */

export const LACKING = 0.01; // so much of a window's length may be lacking at its end
const MISSING = 0.05; // of the samples
const [FLAT, FLAT_SECONDS, FLAT_MILLIVOLT] = [0.2, 0.5, 0.05]; // of the window; 1st to 99th percentile
const [CLIPPED, CLIPPED_TIMES, CLIPPED_RUN] = [0.01, 3, 3]; // of the samples; in so many runs; of so many samples
const [EXCURSION_MILLIVOLT, OFFSET_MILLIVOLT] = [8, 300]; // 99th percentile from the median; the median
const [NOISE_SCORE, NOISE_CONTRAST] = [0.5, 3];

/**
 * Cut one lead into windows that do not overlap and judge each; an incomplete last one is left out.
 * @param {ArrayLike<number>} values mV, NaN where missing, `(T,)`. @param {number} rate Above 50 Hz.
 * @param {number} [seconds] Length of a window.
 * @returns {Window[]} Polarity is judged over the whole recording; one refused as "short" where none is complete.
 */
export function windows(values, rate, seconds = 10) {
  const duration = values.length / rate;
  const upsideDown = inverted(values, rate, rPeaks(values, rate));
  const count = Math.floor(duration / seconds + LACKING);
  if (!count) return [{ start: 0, stop: duration, ok: false, reason: "short", score: 0, inverted: upsideDown }];
  return Array.from({ length: count }, (_, i) => {
    const [start, stop] = [i * seconds, Math.min((i + 1) * seconds, duration)];
    const [reason, score] = judge(crop(values, rate, start, stop), rate);
    return { start, stop, ok: reason === "", reason, score, inverted: upsideDown };
  });
}

/** The part between two times in single precision, cut to what there is.
 * @param {ArrayLike<number>} x @param {number} rate Hz. @param {number} start Seconds. @param {number} stop Seconds. */
export function crop(x, rate, start, stop) {
  const [first, last] = [start, stop].map((time) => round(clip(time, 0, x.length / rate) * rate));
  return Float32Array.from({ length: Math.max(0, last - first) }, (_, i) => x[first + i]);
}

/** First reason to refuse a window, and its score. @param {Float32Array} values @param {number} rate
 * @returns {[string, number]} */
function judge(values, rate) {
  const known = Float64Array.from(values.filter(Number.isFinite));
  if (known.length < (1 - MISSING) * values.length) return ["missing", 0];
  if (isFlat(known, rate)) return ["flat", 0];
  if (isClipped(known)) return ["clipped", 0];
  if (isOff(known)) return ["lead off", 0];
  const score = scored(values, rate);
  return [score < NOISE_SCORE ? "noise" : "", score];
}

/** @param {Float64Array} trace @param {number} rate */
function isFlat(trace, rate) {
  if (percentile(trace, 99) - percentile(trace, 1) < FLAT_MILLIVOLT) return true;
  const [low, high] = extremes(trace);
  const still = runs(differences(trace), (step) => Math.abs(step) <= 1e-6 * (high - low));
  return sum(still.filter((run) => run >= FLAT_SECONDS * rate)) > FLAT * trace.length;
}

/** @param {Float64Array} trace */
function isClipped(trace) {
  const [low, high] = extremes(trace);
  const margin = 1e-3 * (high - low);
  const held = [...runs(trace, (x) => x >= high - margin), ...runs(trace, (x) => x <= low + margin)];
  const long = held.filter((run) => run >= CLIPPED_RUN);
  return long.length >= CLIPPED_TIMES && sum(long) > CLIPPED * trace.length;
}

/** @param {Float64Array} trace */
function isOff(trace) {
  const middle = median(trace);
  const away = percentile(trace.map((value) => Math.abs(value - middle)), 99);
  return Math.abs(middle) > OFFSET_MILLIVOLT || away > EXCURSION_MILLIVOLT;
}

/** Contrast and agreement of the beats, from 0 to 1. @param {Float32Array} values @param {number} rate */
function scored(values, rate) {
  const { beats, r } = cutBeats(values, rate, rPeaks(values, rate));
  if (beats.length < 2) return 0;
  const reach = round(0.1 * rate);
  const qrs = beats.map((beat) => {
    const part = beat.slice(Math.max(0, r - reach), r + reach);
    const level = mean(part);
    return part.map((value) => value - level);
  });
  const usual = medianBeat(qrs);
  const alike = qrs.map((row) => dot(row, usual) / Math.max(Math.sqrt(dot(row, row) * dot(usual, usual)), TINY));
  const height = contrast(values, rate);
  return (Math.max(0, median(alike)) * height) / (height + NOISE_CONTRAST);
}

/** Lengths of the runs that fulfil something. @param {Float64Array} x @param {(x: number) => boolean} holds */
function runs(x, holds) {
  const found = [0];
  for (const value of x) {
    if (holds(value)) found[found.length - 1]++;
    else if (found[found.length - 1]) found.push(0);
  }
  return found.filter((run) => run > 0);
}

/** @param {Float32Array} a @param {Float32Array} b */
const dot = (a, b) => sum(a.map((value, i) => value * b[i]));

/** Lowest and highest. @param {Float64Array} x */
const extremes = (x) => x.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
