// @ts-check
/** From one sampling rate to another through a fraction and a polyphase filter, the signal being stuffed with zeros,
 * low-passed once, and thinned. Passes up to 0.8 of the lower Nyquist frequency, 80 dB down from that frequency on. */
import { bridge, clip, mean, round, sum } from "./filters.js";

/** @typedef {{up: number, down: number, ppm: number}} Ratio Factors, and how far off they are in parts per million. */

const [MAX_PPM, LARGEST] = [20, 500]; // what a recorder's crystal is good to; the largest factor
const [STOPBAND_DB, TRANSITION] = [80, 0.2]; // the latter of the lower Nyquist frequency

/**
 * The same signal at another rate. Its ends are held; NaN is bridged for the filter and put back where it was.
 * @param {ArrayLike<number>} values `(T,)` @param {number} rate What it has, Hz. @param {number} target Hz.
 * @returns {Float32Array} ceil(T · up / down) samples for each fraction.
 */
export function resample(values, rate, target) {
  if (rate === target || values.length === 0) return Float32Array.from(values);
  const { filled, missing } = bridge(values);
  const level = mean(filled); // without it a constant is zero, and stays zero whatever the filter's ripple
  /** @type {Float64Array} */
  let y = filled.map((value) => value - level);
  for (const { up, down } of route(rate, target)) y = polyphase(y, up, down);
  const lost = (/** @type {number} */ i) => missing[Math.min(round(i * (rate / target)), missing.length - 1)];
  return Float32Array.from(y, (value, i) => (lost(i) ? NaN : value + level));
}

/** One fraction where it is close enough, as at 500 Hz to 125 Hz; otherwise up by (n + 1) / n first.
 * @param {number} rate Hz. @param {number} target Hz. @returns {Ratio[]} */
export function route(rate, target) {
  const one = closest(rate, target);
  if (Math.abs(one.ppm) <= MAX_PPM) return [one];
  let [best, first] = [one, 0];
  for (let n = 1; n < LARGEST; n++) {
    const second = closest((rate * (n + 1)) / n, target);
    if (first === 0 || Math.abs(second.ppm) < Math.abs(best.ppm)) [best, first] = [second, n];
  }
  if (Math.abs(best.ppm) <= MAX_PPM) return [{ up: first + 1, down: first, ppm: 0 }, best];
  throw new Error(`No small fractions lead from ${rate} Hz to ${target} Hz; state the sampling rate more exactly.`);
}

/** Closest fraction to target / rate with both numbers at most 500. @param {number} rate @param {number} target
 * @returns {Ratio} */
function closest(rate, target) {
  const known = rate > 0 && target > 0 && Number.isFinite(rate * target);
  if (!known) throw new Error(`Resampling needs two positive rates in Hz; got ${rate} and ${target}.`);
  const [small, large] = fraction(Math.min(rate, target) / Math.max(rate, target));
  const [up, down] = target <= rate ? [small, large] : [large, small];
  return small === 0 ? { up: 0, down: 1, ppm: -1e6 } : { up, down, ppm: ((rate * up) / (down * target) - 1) * 1e6 };
}

/** The closest fraction with a denominator of at most 500, from continued fractions of the exact value.
 * @param {number} x 2⁻²⁷ to 1. @returns {[number, number]} */
function fraction(x) {
  const whole = 2n ** 80n;
  let [n, d, p0, q0, p1, q1] = [BigInt(x * 2 ** 80), whole, 0n, 1n, 1n, 0n];
  while (d > 0n) {
    const a = n / d;
    if (q0 + a * q1 > LARGEST) break;
    [p0, q0, p1, q1, n, d] = [p1, q1, p0 + a * p1, q0 + a * q1, d, n - a * d];
  }
  const k = d ? (BigInt(LARGEST) - q0) / q1 : 0n;
  const earlier = 2n * d * (q0 + k * q1) <= whole;
  return earlier ? [Number(p1), Number(q1)] : [Number(p0 + k * p1), Number(q0 + k * q1)];
}

/** @param {Float64Array} x Its ends are held. @param {number} up @param {number} down
 * @returns {Float64Array} ceil(T · up / down) samples. */
function polyphase(x, up, down) {
  const taps = lowPass(Math.max(up, down));
  return Float64Array.from({ length: Math.ceil((x.length * up) / down) }, (_, m) => {
    const centre = m * down + (taps.length - 1) / 2; // in the stuffed signal, half a filter late
    let total = 0;
    for (let i = Math.ceil((centre - taps.length + 1) / up); i * up <= centre; i++) {
      total += x[clip(i, 0, x.length - 1)] * taps[centre - i * up];
    }
    return total * up;
  });
}

/** Kaiser-windowed sinc that ends at 1 / factor of the stuffed signal's Nyquist frequency. @param {number} factor
 * @returns {Float64Array} Of sum 1. */
function lowPass(factor) {
  const beta = 0.1102 * (STOPBAND_DB - 8.7);
  const count = Math.ceil((STOPBAND_DB - 7.95) / 2.285 / ((Math.PI * TRANSITION) / factor) + 1) | 1;
  const [middle, cutoff] = [(count - 1) / 2, (1 - TRANSITION / 2) / factor];
  const taps = Float64Array.from({ length: count }, (_, i) => {
    const turn = Math.PI * cutoff * (i - middle);
    return (turn ? Math.sin(turn) / turn : 1) * bessel(beta * Math.sqrt(1 - ((i - middle) / middle) ** 2));
  });
  const total = sum(taps);
  return taps.map((tap) => tap / total);
}

/** Modified Bessel function of the first kind and order 0, by its power series. @param {number} x */
function bessel(x) {
  let [total, term] = [1, 1];
  for (let k = 1; term > 1e-17 * total; k++) total += term *= (x / (2 * k)) ** 2;
  return total;
}
