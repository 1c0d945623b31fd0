// @ts-check
/** Where the waves of each beat are, and which of them a score rests on. A small network says what each 4 ms of a lead
 * is; every sample of a prepared window then belongs to a part, P, PR, QRS, ST, T or TP, with shares that sum to 1; and
 * every coalition of parts (and of the rhythm) is shown over the isoelectric line, x_S = b + m_S (x − b). */
import { inverted, parts, rPeaks } from "./beats.js";
import { bridge, clip, differences, interp, median, round, sum, zeroPhase } from "./filters.js";
import { prepare, PREPARATIONS } from "./prepare.js";
import { crop } from "./quality.js";
import { holds, shapley } from "./shapley.js";

/** @typedef {[number, number]} Bounds Start and stop, seconds; NaN where there is none. */
/** @typedef {{shape: [number, number, number], weight: Float32Array, bias: Float32Array}} Layer (taps, out, in) */
/**
 * @typedef {object} Scene A prepared window of which any coalition of waves can be shown.
 * @property {number[]} active Numbers of the `PLAYERS` that can change anything; all others contribute exactly 0.
 * @property {Float32Array} prepared What the model sees, `(T,)`.
 * @property {Float64Array} baseline What it would see without any wave, `(T,)`.
 * @property {Float64Array[]} shares Of each part in each sample, `(6, T)`.
 * @property {Float64Array | null} positions Where each sample comes from at even times; null where it stays.
 * @property {number[]} r R peaks, seconds, `(beats,)`.
 * @property {Bounds[][]} times Of each part of each beat, `(beats, 6)`.
 */

export const PLAYERS = ["P", "PR", "QRS", "ST", "T", "TP", "timing"];
const [QRS, TP, TIMING] = [2, 5, 6];
const [HERTZ, SCALE_SECONDS] = [250, 2]; // of the network; a span in which even a slow heart beats once
const QRS_AWAY = 0.06; // seconds between R and a QRS that is another's
const [P_BEFORE, T_AFTER] = [0.5, 0.75]; // seconds from QRS in which a wave belongs to it
const [P_LEAST, T_LEAST] = [0.02, 0.03]; // seconds: the least probability, summed over time, that is a wave
const [P_STEADY, QRS_STEADY, T_STEADY] = [0.04, 0.06, 0.1]; // seconds a bound may be from the median of all beats
const P_SHARE = 0.5; // of the beats, for a P wave to be there
const [EDGE_SECONDS, ISOELECTRIC_SECONDS] = [0.008, 0.02]; // half an edge between two parts; before each QRS

/** The network from what `stethos.export.page_data.delineator_json` writes, weights in base64 of float16.
 * @param {{layers: {shape: [number, number, number], weight: string, bias: string}[]}} held @returns {Layer[]} */
export function delineator(held) {
  return held.layers.map(({ shape, weight, bias }) => ({ shape, weight: halves(weight), bias: halves(bias) }));
}

/** Base64 of little-endian half-precision numbers. @param {string} text */
function halves(text) {
  const view = new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true);
    const [power, rest] = [(bits >> 10) & 31, (bits & 1023) / 1024];
    return (bits >> 15 ? -1 : 1) * (power ? (1 + rest) * 2 ** (power - 15) : rest * 2 ** -14);
  });
}

/**
 * Exact Shapley values of the waves of a window.
 * @param {(x: Float32Array, count: number) => Promise<ArrayLike<number>>} score Of `count` prepared windows in a row,
 *   at most 128, to K logits each; called once. @param {Scene} scene
 * @returns {Promise<{values: Float64Array[], empty: Float64Array, full: Float64Array}>} Logits of each of the `PLAYERS`
 *   `(7, K)`, of the isoelectric line alone, and of the window; values sum to `full` − `empty`.
 */
export async function explain(score, scene) {
  const count = 2 ** scene.active.length;
  const table = await score(shown(scene), count);
  const found = shapley(table, scene.active.length, table.length / count);
  const of = (/** @type {number} */ player) => found.values[scene.active.indexOf(player)];
  return { ...found, values: PLAYERS.map((_, player) => of(player) ?? new Float64Array(found.full.length)) };
}

/** Contributions spread over samples, in proportion to how far each part moves each sample from the baseline.
 * @param {Scene} scene @param {ArrayLike<number>} values One logit's contribution of each player.
 * @returns {Float64Array} Logits a sample, `(T,)`; they sum to the contributions of all waves. */
export function curve({ prepared, baseline, shares }, values) {
  const out = new Float64Array(prepared.length);
  shares.forEach((share, part) => {
    const away = share.map((m, i) => m * Math.abs(prepared[i] - baseline[i]));
    const moved = away.some((d) => d > 0) ? away : share;
    const total = sum(moved) || 1;
    moved.forEach((d, i) => (out[i] += (values[part] * d) / total));
  });
  return out;
}

/** Every coalition of the active players, in the order of their numbers, one window after the other.
 * @param {Scene} scene @returns {Float32Array} `(2ⁿ · T,)` */
export function shown({ active, prepared, baseline, shares, positions }) {
  const [n, count] = [prepared.length, 2 ** active.length];
  const out = new Float32Array(count * n);
  for (let coalition = 0; coalition < count; coalition++) {
    const present = active.filter((_, i) => holds(coalition, i, active.length));
    const share = new Float64Array(n);
    for (const part of present) shares[part]?.forEach((m, t) => (share[t] += m));
    const x = prepared.map((value, t) => baseline[t] + share[t] * (value - baseline[t]));
    out.set(positions && !present.includes(TIMING) ? retimed(x, positions) : x, coalition * n);
  }
  return out;
}

/** Values read at other positions by straight lines. @param {Float32Array} x @param {Float64Array} positions */
function retimed(x, positions) {
  return Float32Array.from(positions, (place) => {
    const [below, part] = [Math.floor(place), place % 1];
    return x[below] * (1 - part) + x[Math.min(below + 1, x.length - 1)] * part;
  });
}

/**
 * Prepare the first window of a lead, find its parts, and lay the isoelectric line under it.
 * @param {import("./prepare.js").Name} name Of the preparation. @param {ArrayLike<number>} values mV, NaN where
 *   missing, `(T,)`. @param {number} rate Hz. @param {Layer[]} layers From `delineator`. @returns {Scene}
 */
export function sceneOf(name, values, rate, layers) {
  const { rate: hertz, seconds } = PREPARATIONS[name];
  const prepared = prepare(name, values, rate);
  const { r, times } = beatBounds(crop(values, rate, 0, seconds), rate, layers);
  const shares = sharesOf(times, prepared.length, hertz);
  const positions = evenPositions(r, times, prepared.length, hertz);
  const active = [...PLAYERS.keys()].filter((i) => (i === TIMING ? positions : shares[i].some((m) => m > 0)));
  return { active, prepared, baseline: isoelectric(prepared, times, hertz), shares, positions, r, times };
}

/** Medians of starts and of stops. @param {(end: number) => number[]} of @returns {Bounds} */
const ends = (of) => [median(of(0)), median(of(1))];

/** @param {Bounds | undefined} bounds */
const isWhole = (bounds) => bounds !== undefined && Number.isFinite(bounds[0] + bounds[1]);

/** Share of each part in each sample, smoothed at its edges. @param {Bounds[][]} times @param {number} samples
 * @param {number} rate @returns {Float64Array[]} */
function sharesOf(times, samples, rate) {
  const label = new Uint8Array(samples).fill(TP);
  for (let part = 0; part < TP; part++) {
    for (const { [part]: bounds } of times) {
      if (isWhole(bounds)) label.fill(part, Math.ceil(bounds[0] * rate), Math.ceil(bounds[1] * rate));
    }
  }
  const reach = Math.max(1, round(EDGE_SECONDS * rate));
  const hann = Array.from({ length: 2 * reach + 1 }, (_, k) => 1 - Math.cos((Math.PI * (k + 1)) / (reach + 1)));
  const total = sum(hann);
  const shares = Array.from({ length: TP + 1 }, () => new Float64Array(samples));
  for (let i = 0; i < samples; i++) {
    hann.forEach((weight, k) => (shares[label[clip(i + k - reach, 0, samples - 1)]][i] += weight / total));
  }
  return shares;
}

/** Straight lines through the ends of the PR segments. @param {Float32Array} x @param {Bounds[][]} times
 * @param {number} rate */
function isoelectric(x, times, rate) {
  const width = Math.max(1, round(ISOELECTRIC_SECONDS * rate));
  const stops = times.map((beat) => clip(Math.ceil(beat[QRS][0] * rate) || 1, 1, x.length));
  const level = stops.map((stop) => Math.fround(median(x.slice(Math.max(0, stop - width), stop))));
  return interp(x.map((_, i) => i), stops.map((stop) => stop - (width + 1) / 2), level);
}

/** Where each sample of the evenly timed window comes from; null where no R would move by a whole sample.
 * @param {number[]} r @param {Bounds[][]} times @param {number} samples @param {number} rate */
function evenPositions(r, times, samples, rate) {
  const own = times.map((beat) => beat.slice(0, TP).flat().filter(Number.isFinite).map((time) => time * rate));
  const stop = own.map((bounds) => Math.min(Math.ceil(Math.max(...bounds)), samples - 1));
  const start = own.map((bounds, i) => Math.max(Math.floor(Math.min(...bounds)), stop[i - 1] ?? 0));
  if (start.length < 3) return null;
  const at = r.map((time) => time * rate);
  const even = mostEven(differences(at), differences(at).map((_, i) => stop[i] - at[i] + at[i + 1] - start[i + 1]));
  let moved = at[0];
  const away = [0, ...Array.from(even, (step, i) => Number(((moved += step) - at[i + 1]).toFixed(6)))];
  if (Math.max(...away.map(Math.abs)) < 1) return null;
  const old = start.flatMap((first, i) => [first, stop[i]]);
  let latest = -Infinity; // two that touch can overlap by a sample after rounding
  const fresh = old.map((place, k) => (latest = Math.max(latest, place + round(away[k >> 1]))));
  const place = Float64Array.from({ length: samples }, (_, i) => i);
  const stretched = interp(place, fresh, old);
  return place.map((i) => (i >= fresh[0] && i <= latest ? stretched[i] : i));
}

/** The most even RR of the same sum that leave room for the waves, max(λ, m). @param {Float64Array} rr
 * @param {Float64Array} least m */
function mostEven(rr, least) {
  let room = sum(rr);
  if (room <= sum(least)) return least;
  const rest = Array.from(least).sort((a, b) => a - b);
  while (rest[rest.length - 1] > room / rest.length) room -= /** @type {number} */ (rest.pop());
  return least.map((step) => Math.max(step, room / rest.length));
}

/**
 * Start and stop of every part of every beat, without overlaps, steadied over the beats.
 * @param {Float32Array} values One lead, `(T,)`. @param {number} rate Hz. @param {Layer[]} layers
 * @returns {{r: number[], times: Bounds[][]}} R in seconds, `(beats,)`, and bounds `(beats, 6)`.
 */
export function beatBounds(values, rate, layers) {
  const { r, ...found } = waves(values, rate, layers);
  if (r.length < 2 || ![0, 1].every((end) => found.qrs.some((bounds) => Number.isFinite(bounds[end])))) {
    throw new Error(`An explanation by waves needs two beats or more; ${r.length} were found; record again at rest.`);
  }
  const [p, qrs, t] = [pWaves(found.p, r), steady(found.qrs, r, QRS_STEADY), steady(found.t, r, T_STEADY)];
  qrs.forEach((bounds, i) => (bounds[1] = Math.min(bounds[1], qrs[i + 1]?.[0] ?? Infinity)));
  p.forEach(([on, off], i) => (p[i] = whole(Math.max(on, qrs[i - 1]?.[1] ?? -Infinity), Math.min(off, qrs[i][0]))));
  const start = p.map(([on], i) => (Number.isFinite(on) ? on : qrs[i][0]));
  const times = r.map((_, i) => {
    const wave = whole(Math.max(t[i][0], qrs[i][1]), Math.min(t[i][1], start[i + 1] ?? Infinity));
    const rest = whole(Number.isFinite(wave[1]) ? wave[1] : qrs[i][1], start[i + 1] ?? NaN);
    return [p[i], whole(p[i][1], qrs[i][0]), whole(...qrs[i]), whole(qrs[i][1], wave[0]), wave, rest];
  });
  return { r, times };
}

/** Bounds where the stop is after the start, else none. @param {number} start @param {number} stop @returns {Bounds} */
const whole = (start, stop) => (stop > start ? [start, stop] : [NaN, NaN]);

/** A bound whose distance from R is missing or far from the usual one is put at the usual one.
 * @param {Bounds[]} bounds @param {number[]} r @param {number} away @returns {Bounds[]} */
function steady(bounds, r, away) {
  const usual = ends((end) => bounds.map((both, i) => both[end] - r[i]).filter(Number.isFinite));
  const put = (/** @type {number} */ at, /** @type {number} */ usual) => (Math.abs(at - usual) <= away ? at : usual);
  return bounds.map(([on, off], i) => [r[i] + put(on - r[i], usual[0]), r[i] + put(off - r[i], usual[1])]);
}

/** P of each beat; none at all if few beats have one. @param {Bounds[]} p @param {number[]} r @returns {Bounds[]} */
function pWaves(p, r) {
  const usual = ends((end) => p.flatMap((both, i) => (isWhole(both) ? both[end] - r[i] : [])));
  const kept = p.map((both, i) => both.every((at, end) => Math.abs(at - r[i] - usual[end]) <= P_STEADY));
  const enough = kept.filter(Boolean).length >= P_SHARE * p.length;
  return p.map(([on, off], i) => (enough && kept[i] ? [on, off] : [NaN, NaN]));
}

/**
 * Where P, QRS and T of each beat begin and end.
 * @param {Float32Array} values One lead of either polarity, `(T,)`. @param {number} rate Hz. @param {Layer[]} layers
 * @returns {{r: number[], p: Bounds[], qrs: Bounds[], t: Bounds[]}} R in seconds, and bounds, one a beat.
 */
export function waves(values, rate, layers) {
  const peaks = rPeaks(values, rate);
  const r = peaks.map((at) => at / rate);
  if (!r.length) return { r, p: [], qrs: [], t: [] };
  const sign = inverted(values, rate, peaks) ? -1 : 1;
  const [, ofP, ofQrs, ofT] = network(seen(values, rate).map((value) => sign * value), layers);
  const qrs = complexes(runs(ofQrs), r);
  const start = qrs.map(([on], i) => (Number.isFinite(on) ? on : r[i]));
  const stop = qrs.map(([, off], i) => (Number.isFinite(off) ? off : r[i]));
  const before = start.map((on, i) => [Math.max(stop[i - 1] ?? -Infinity, on - P_BEFORE), on]);
  const after = stop.map((off, i) => [off, Math.min(start[i + 1] ?? Infinity, off + T_AFTER)]);
  const p = chosen(runs(shared(ofP, r, true)), before, P_LEAST);
  return { r, p, qrs, t: chosen(runs(shared(ofT, r, false)), after, T_LEAST) };
}

/** Runs of a probability of a half or more: start, stop and the probability summed over time, all in seconds.
 * @param {ArrayLike<number>} share @returns {number[][]} */
function runs(share) {
  const [found, n] = [/** @type {number[][]} */ ([]), share.length];
  for (let i = 0, start = 0, total = 0; i <= n; i++) {
    const [before, here] = [share[i - 1] ?? 0, share[i] ?? 0];
    if (here >= 0.5 && before < 0.5) [start, total] = [i - 1 + (0.5 - before) / (here - before), 0];
    if (here < 0.5 && before >= 0.5) {
      const stop = i - 1 + (before - 0.5) / (before - here);
      found.push([Math.max(start, 0) / HERTZ, Math.min(stop, n - 1) / HERTZ, total / HERTZ]);
    }
    total += here;
  }
  return found;
}

/** One half a beat's own probability, the other the mean over beats aligned on R. @param {Float32Array} share
 * @param {number[]} r @param {boolean} before The wave comes before R. */
function shared(share, r, before) {
  const [n, at] = [share.length, r.map((time) => round(time * HERTZ))];
  const low = before ? at.map((place, i) => (i ? Math.floor((at[i - 1] + place) / 2) : 0)) : at;
  const high = before ? at : [...at.slice(1), n];
  const width = round(((before ? P_BEFORE : T_AFTER) + QRS_AWAY) * HERTZ);
  const [first, laid] = [before ? -width : 0, new Float64Array(n)];
  for (let step = first; step < first + width; step++) {
    const places = at.map((place) => place + step);
    const inside = places.filter((place, i) => place >= Math.max(low[i], 0) && place < Math.min(high[i], n));
    const level = sum(inside.map((place) => share[place])) / Math.max(inside.length, 1);
    for (const place of inside) laid[place] = level;
  }
  return laid.map((level, i) => 0.5 * (share[i] + level));
}

/** The largest run at each R, stretched to hold it. @param {number[][]} found @param {number[]} r
 * @returns {Bounds[]} */
function complexes(found, r) {
  return r.map((time) => {
    const run = largest(found.filter(([on, off]) => on <= time + QRS_AWAY && off >= time - QRS_AWAY));
    return run ? [Math.min(run[0], time), Math.max(run[1], time)] : [NaN, NaN];
  });
}

/** The largest run whose middle lies between two bounds of each beat, cut at them. @param {number[][]} found
 * @param {number[][]} limits @param {number} least @returns {Bounds[]} */
function chosen(found, limits, least) {
  return limits.map(([low, high]) => {
    const between = found.filter(([on, off, total]) => on + off > 2 * low && on + off < 2 * high && total >= least);
    const run = largest(between);
    return run ? [clip(run[0], low, high), clip(run[1], low, high)] : [NaN, NaN];
  });
}

/** The run that holds most. @param {number[][]} found @returns {number[] | undefined} */
const largest = (found) => found.reduce((best, run) => (run[2] > best[2] ? run : best), found[0]);

/** What the network sees: 0.5 to 40 Hz at 250 Hz, in units of the usual height. @param {Float32Array} values
 * @param {number} rate */
function seen(values, rate) {
  const passed = bridge(zeroPhase(values, rate, 2, [0.5, Math.min(40, 0.4 * rate)], "bandpass")).filled;
  const time = Float64Array.from({ length: Math.ceil((passed.length * HERTZ) / rate) }, (_, i) => i / HERTZ);
  const trace = interp(time, passed.map((_, i) => i / rate), passed);
  const spans = parts(trace, Math.max(1, round(trace.length / HERTZ / SCALE_SECONDS)));
  const height = median(spans.map((part) => Math.max(...part) - Math.min(...part)));
  return trace.map((value) => (height > 0 ? value / height : 0));
}

/** Probability of nothing, P, QRS and T at each sample: a U-Net, each level at half the rate of the one above.
 * @param {Float64Array} trace @param {Layer[]} layers @returns {Float32Array[]} `(4, T)` */
function network(trace, layers) {
  const [levels, last] = [(layers.length >> 1) - 1, layers.length - 1];
  const length = Math.ceil(trace.length / 2 ** levels) * 2 ** levels;
  /** @type {Float32Array[]} */
  const aside = [];
  /** @type {Float32Array} */
  let x = Float32Array.from({ length }, (_, i) => trace[i] ?? 0);
  for (let i = 0; i < levels; i++) {
    const fine = convolved(x, layers[i], 0);
    aside.push(fine);
    x = Float32Array.from({ length: fine.length / 2 }, (_, k) => Math.max(fine[2 * k], fine[2 * k + 1]));
  }
  x = convolved(convolved(x, layers[levels], 0), layers[levels + 1], 0);
  for (let i = 0; i < levels; i++) {
    const [coarse, fine] = [x, aside[levels - 1 - i]];
    const joined = new Float32Array(2 * coarse.length + fine.length).map((_, k) => coarse[k >> 1]);
    joined.set(fine, 2 * coarse.length);
    x = convolved(joined, layers[levels + 2 + i], 0);
  }
  const raised = convolved(x, layers[last], -Infinity).map(Math.exp);
  const kinds = [0, 1, 2, 3].map((kind) => raised.subarray(kind * length, kind * length + trace.length));
  return kinds.map((kind) => kind.map((value, t) => value / sum(kinds.map((other) => other[t]))));
}

/** Zero-padded convolution of (in, T) to (out, T), not below `floor`. @param {Float32Array} x @param {Layer} layer
 * @param {number} floor @returns {Float32Array} */
function convolved(x, { shape: [taps, out, into], weight, bias }, floor) {
  const n = x.length / into;
  const [y, row] = [new Float32Array(out * n), new Float64Array(n)];
  for (let o = 0; o < out; o++) {
    row.fill(bias[o]);
    for (let k = 0; k < taps * into; k++) {
      const [tap, c] = [Math.floor(k / into), k % into];
      const [w, shift] = [weight[(tap * out + o) * into + c], tap - (taps >> 1)];
      const [stop, from] = [Math.min(n, n - shift), c * n + shift];
      for (let t = Math.max(0, -shift); t < stop; t++) row[t] += w * x[from + t];
    }
    y.set(row.map((value) => Math.max(value, floor)), o * n);
  }
  return y;
}
