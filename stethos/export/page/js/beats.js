// @ts-check
/** R peaks, heart rate and polarity of one ECG lead. A QRS complex is the steepest thing in an ECG: the slope between
 * 5 and 20 Hz is rectified, smoothed, and its tops are compared with the level that beats reach nearby. */
import { bridge, butterworth, clip, differences, interp, median, round, sosfiltfilt, zeroPhase } from "./filters.js";

const LOWEST_RATE = 50; // Hz
const QRS_BAND = [5, 20]; // Hz
const SHARP_BAND = [20, 45]; // Hz: even a tall T wave has next to nothing here
const [QRS_SECONDS, REFRACTORY_SECONDS, LEVEL_SECONDS] = [0.1, 0.2, 2];
// so long after a beat, a slope this much lower, or blunter, is its T wave
const [T_WAVE_SECONDS, T_WAVE_HEIGHT, T_WAVE_SHARPNESS] = [0.36, 0.6, 0.5];
// of the level that beats reach nearby: for a beat, and for one that is overdue, in median RR intervals
const [THRESHOLD, SEARCH_BACK, OVERDUE] = [0.35, 0.15, 1.6];
const [CONTRAST, LOWEST] = [2.4, 2]; // over the median of the envelope: the level, which noise hardly reaches; one beat
export const TINY = 2.2250738585072014e-308;

/**
 * Samples at which QRS complexes have their largest deflection, up or down.
 * @param {ArrayLike<number>} values One lead in any unit and of either polarity, NaN where missing, `(T,)`.
 * @param {number} rate Above 50 Hz. @returns {number[]} In rising order; none where no beat stands out.
 */
export function rPeaks(values, rate) {
  const trace = oneLead(values, rate);
  if (trace.length / rate < 1) return [];
  const envelope = envelopeOf(trace, rate, QRS_BAND);
  const [level, noise] = [levelOf(envelope, rate), median(envelope)];
  if (median(level) <= CONTRAST * noise + 1e-9 * trace.reduce((most, x) => Math.max(most, Math.abs(x)), 0)) return [];
  const candidates = findPeaks(envelope, Math.max(1, round(REFRACTORY_SECONDS * rate)), LOWEST * noise);
  const height = candidates.map((at) => envelope[at] / level[at]);
  const fine = envelopeOf(trace, rate, [SHARP_BAND[0], Math.min(SHARP_BAND[1], 0.45 * rate)]);
  const accepted = accept(candidates, height, candidates.map((at) => fine[at]), rate);
  const found = searchBack(candidates, height, accepted);
  return refine(trace, candidates.filter((_, i) => found[i]), rate);
}

/** The level that beats reach over the median, in slope between 5 and 20 Hz: about 2 in noise, 4 to 25 in an ECG.
 * @param {ArrayLike<number>} values `(T,)` @param {number} rate Hz. */
export function contrast(values, rate) {
  const envelope = envelopeOf(oneLead(values, rate), rate, QRS_BAND);
  const middle = median(envelope);
  return middle > 0 ? median(levelOf(envelope, rate)) / middle : 0;
}

/** Beats per minute, 60 / median RR; NaN under two beats. @param {number[]} peaks Samples. @param {number} rate Hz. */
export const heartRate = (peaks, rate) => (60 * rate) / median(differences(peaks));

/** Whether a lead whose normal QRS points up seems upside down: QRS points down, and P and T together do as well.
 * @param {ArrayLike<number>} values `(T,)` @param {number} rate Hz. @param {number[]} peaks R, samples. */
export function inverted(values, rate, peaks) {
  const { beats, r } = cutBeats(values, rate, peaks);
  if (!beats.length) return false;
  const beat = levelled(medianBeat(beats));
  const qrs = round(0.06 * rate);
  const around = beat.slice(Math.max(0, r - qrs), r + qrs + 1);
  const p = largest(levelled(beat.slice(0, Math.max(1, r - round(0.07 * rate)))));
  return -Math.min(...around) > Math.max(...around) && 2 * p + largest(beat.slice(r + round(0.12 * rate))) < 0;
}

/** Every beat that lies wholly in the lead, without baseline wander, from up to 0.28 s before R, which is sample `r`,
 * to up to 0.45 s after. @param {ArrayLike<number>} values `(T,)` @param {number} rate Hz.
 * @param {number[]} peaks R, samples. @returns {{beats: Float32Array[], r: number}} */
export function cutBeats(values, rate, peaks) {
  const filled = oneLead(values, rate);
  if (peaks.length < 2) return { beats: [], r: 0 };
  const trace = zeroPhase(Float32Array.from(filled), rate, 2, [0.5], "highpass");
  const apart = median(differences(peaks));
  const before = Math.floor(Math.min(0.28 * rate, 0.4 * apart));
  const after = Math.floor(Math.min(0.45 * rate, 0.6 * apart));
  const whole = peaks.filter((at) => at >= before && at + after <= trace.length);
  return { beats: whole.map((at) => trace.slice(at - before, at + after)), r: before };
}

/** Median over beats, `(T,)`. @param {ArrayLike<number>[]} beats One or more of T samples. */
export const medianBeat = (beats) => Float32Array.from(beats[0], (_, i) => median(beats.map((beat) => beat[i])));

/** @template {Float32Array | Float64Array} A @param {A} x @returns {A} Around its median. */
function levelled(x) {
  const level = median(x);
  return /** @type {A} */ (x.map((value) => value - level));
}

/** The lead in single precision, without gaps. @param {ArrayLike<number>} values @param {number} rate */
function oneLead(values, rate) {
  if (!(rate > LOWEST_RATE)) throw new Error(`Beats need over ${LOWEST_RATE} Hz; got ${rate} Hz; record faster.`);
  return bridge(Float32Array.from(values)).filled;
}

/** Slope of a band, rectified, smoothed. @param {Float64Array} trace @param {number} rate @param {number[]} band */
function envelopeOf(trace, rate, band) {
  const x = sosfiltfilt(butterworth(2, band, "bandpass", rate), levelled(trace));
  const last = x.length - 1;
  const slope = x.map((_, i) => Math.abs(x[Math.min(i + 1, last)] - x[Math.max(i - 1, 0)]) / (i % last ? 2 : 1));
  const width = Math.max(1, round(QRS_SECONDS * rate));
  return runningMean(runningMean(slope, width), Math.max(1, width >> 1));
}

/** Mean of a window around each sample, ends mirrored. @param {Float64Array} x @param {number} size Samples. */
function runningMean(x, size) {
  const [n, left] = [x.length, size >> 1];
  const at = (/** @type {number} */ i) => x[i < 0 ? -1 - i : i >= n ? 2 * n - 1 - i : i];
  let level = 0;
  for (let i = 0; i < size; i++) level += at(i - left);
  level /= size;
  return x.map((_, i) => (i ? (level += (at(i - left + size - 1) - at(i - left - 1)) / size) : level));
}

/** Height that beats reach around every sample. @param {Float64Array} envelope @param {number} rate */
function levelOf(envelope, rate) {
  const n = envelope.length;
  const count = Math.max(1, Math.floor(n / clip(round(LEVEL_SECONDS * rate), 1, n)));
  const highest = parts(envelope, count).map((part) => part.reduce((most, x) => Math.max(most, x)));
  const around = highest.map((_, i) => median(highest.slice(Math.max(0, i - 2), i + 3)));
  const level = interp(envelope.map((_, i) => i), highest.map((_, i) => ((i + 0.5) * n) / count), around);
  return level.map((value) => Math.max(value, TINY));
}

/** Cut into parts of equal length; the first ones have a sample more. @param {Float64Array} x @param {number} count */
export function parts(x, count) {
  const [size, more] = [Math.floor(x.length / count), x.length % count];
  const start = (/** @type {number} */ i) => i * size + Math.min(i, more);
  return Array.from({ length: count }, (_, i) => x.subarray(start(i), start(i + 1)));
}

/** Tops of a height or more, the higher ones first, none too close. @param {Float64Array} x @param {number} apart
 * @param {number} least @returns {number[]} */
function findPeaks(x, apart, least) {
  /** @type {number[]} */
  const tops = [];
  for (let i = 1, end = 1; i < x.length - 1; i = ++end) {
    while (end < x.length - 1 && x[end + 1] === x[i]) end++;
    if (x[i - 1] < x[i] && x[end + 1] < x[i] && x[i] >= least) tops.push((i + end) >> 1);
  }
  const kept = tops.map(() => true);
  for (const i of [...tops.keys()].sort((a, b) => x[tops[b]] - x[tops[a]] || b - a)) {
    if (!kept[i]) continue;
    for (let k = i - 1; tops[i] - tops[k] < apart; k--) kept[k] = false;
    for (let k = i + 1; tops[k] - tops[i] < apart; k++) kept[k] = false;
  }
  return tops.filter((_, i) => kept[i]);
}

/** Which candidates are high enough and not the T wave of the one before.
 * @param {number[]} at @param {number[]} height @param {number[]} sharp @param {number} rate */
function accept(at, height, sharp, rate) {
  let last = -1;
  return at.map((place, i) => {
    const soon = last >= 0 && place - at[last] < T_WAVE_SECONDS * rate;
    const lower = height[i] < T_WAVE_HEIGHT * height[last] || sharp[i] < T_WAVE_SHARPNESS * sharp[last];
    const accepted = height[i] > THRESHOLD && !(soon && lower);
    if (accepted) last = i;
    return accepted;
  });
}

/** Add the highest lower candidate inside each gap that is too long for one RR.
 * @param {number[]} at @param {number[]} height @param {boolean[]} accepted */
function searchBack(at, height, accepted) {
  const beats = [...at.keys()].filter((i) => accepted[i]);
  if (beats.length < 3) return accepted;
  const found = accepted.slice();
  const usual = median(differences(beats.map((i) => at[i])));
  for (let k = 1; k < beats.length; k++) {
    const [before, after] = [beats[k - 1], beats[k]];
    let best = -1;
    for (let i = before + 1; i < after && at[after] - at[before] > OVERDUE * usual; i++) {
      const clear = at[i] - at[before] > 0.5 * usual && at[after] - at[i] > 0.4 * usual;
      if (clear && height[i] > SEARCH_BACK && !(height[i] <= height[best])) best = i;
    }
    if (best >= 0) found[best] = true;
  }
  return found;
}

/** Move each beat to its largest deflection from the median around it, the way that most go unless the other way
 * reaches twice as far. @param {Float64Array} trace @param {number[]} beats @param {number} rate */
function refine(trace, beats, rate) {
  const [reach, around, last] = [round(0.08 * rate), round(0.3 * rate), trace.length - 1];
  const near = (/** @type {number} */ beat, /** @type {number} */ width) =>
    Float64Array.from({ length: 2 * width + 1 }, (_, i) => trace[clip(beat + i - width, 0, last)]);
  const rows = beats.map((beat) => {
    const level = median(near(beat, around));
    return near(beat, reach).map((value) => value - level);
  });
  const [up, down] = [rows.map((row) => Math.max(...row)), rows.map((row) => -Math.min(...row))];
  const upward = median(up) >= median(down);
  const refined = beats.map((beat, i) => {
    const opposite = upward ? down[i] > 2 * up[i] : up[i] > 2 * down[i];
    return clip(beat + rows[i].indexOf(upward !== opposite ? up[i] : -down[i]) - reach, 0, last);
  });
  return [...new Set(refined)].sort((a, b) => a - b);
}

/** The value farthest from 0, with its sign; 0 of none. @param {Float32Array} values */
const largest = (values) => values.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
