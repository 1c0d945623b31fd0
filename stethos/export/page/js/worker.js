/** All that is computed: reading files, judging windows, scoring, and the contributions of waves. One request at a
 * time, in order; "cancel" and the frames of a strap do not wait. */

import * as ort from "../ort/ort.wasm.min.mjs";
import { heartRate, rPeaks } from "./beats.js";
import { sum } from "./filters.js";
import { sniff } from "./formats.js";
import { graphOf, held } from "./graph.js";
import { CHANNEL, frame, joined } from "./polar.js";
import { prepare } from "./prepare.js";
import { crop, windows } from "./quality.js";
import { PLAYERS, curve, delineator, explain as shares, sceneOf } from "./waves.js";

/** @import {About, Answer, Contributions, Outcome, Person, Reason, Shown, Statement, Verbs} from './types.d.ts' */
/** @typedef {import("./quality.js").Window} Window */
/** @typedef {(part: {done: number, all: number}) => void} Told */
/** @typedef {{about: About, session: ort.InferenceSession, layers: import("./waves.js").Layer[]}} Model */
/** @typedef {Pick<import("./formats.js").Recording, "values" | "rate" | "lead">} Lead */
/** @typedef {Lead & {synthetic: boolean, windows: Window[], logits: number[] | null}} Taken */

const UNSTATED = "not stated"; // the lead of a file that does not say
const AT_ONCE = 8; // windows a run of the graph, between which one can cancel

let model = /** @type {Model} */ (/** @type {unknown} */ (null)); // nothing is asked before `load` is done
let recording = /** @type {Taken} */ (/** @type {unknown} */ (null)); // nor of a recording before one is open
/** @type {import("./polar.js").Frame[]} */
const strap = []; // frames so far
let cancelled = false;

/** @param {Verbs["load"][0]} given @returns {Promise<Verbs["load"][1]>} */
async function load({ files }) {
  const [about, listed, waves] = await held(files, "export.json", "files.json", "delineator.json");
  model = { about, session: await graphOf(files, "score.onnx", listed), layers: delineator(waves) };
  return { about, samples: listed.samples };
}

/** Reads a file and judges its windows. @param {Verbs["open"][0]} given @returns {Shown} */
function open({ bytes, name, synthetic, rate, unit, lead }) {
  const read = sniff(new Uint8Array(bytes), name, { rate, unit });
  return taken({ ...read, lead: read.lead === UNSTATED && lead ? lead : read.lead }, { name, synthetic });
}

/** @param {Lead & Partial<import("./formats.js").Recording>} read
 * @param {{name: string, synthetic: boolean}} of @returns {Shown} */
function taken(read, { name, synthetic }) {
  const { values, rate } = read;
  recording = { values, rate, lead: read.lead, synthetic, windows: windows(values, rate, model.about.seconds), logits: null };
  const [low, high] = extent(values);
  const rest = { when: read.when ?? null, device: read.device ?? "", classification: read.classification ?? "" };
  return {
    name, synthetic, lead: read.lead, rate, low, high, values: Float32Array.from(values), windows: recording.windows, ...rest,
    seconds: values.length / rate, heartRate: heartRate(rPeaks(values, rate), rate),
  };
}

/** Millivolts between which all but the rarest samples lie; a small span where nothing is known.
 * @param {Float64Array} values @returns {[number, number]} */
function extent(values) {
  const known = Float32Array.from(values).filter(Number.isFinite).sort();
  return known.length ? [known[Math.floor(0.0005 * known.length)], known[Math.ceil(0.9995 * known.length) - 1]] : [-1, 1];
}

/** The answer to the person's facts: "ask" for them, "abstain" with reasons, or "scored".
 * @param {Person} person @returns {Promise<Outcome>} */
async function judge({ age, paced, answered, allow }) {
  const { about } = model, use = about.intended_use ?? {};
  const used = recording.windows.filter((window) => window.ok);
  const { lead } = recording, code = lead === UNSTATED ? "unstated" : "lead";
  if (lead !== about.lead) return { kind: "abstain", reasons: [{ code, needed: about.lead, lead }] };
  /** @type {Reason[]} */
  const refused = [];
  if (!used.length) refused.push({ code: "quality", seconds: about.seconds, reasons: [...new Set(recording.windows.map((window) => window.reason))] });
  if (about.origin !== "real" && !recording.synthetic && !allow) refused.push({ code: "synthetic" });
  if (age !== null && age < (use.age_min ?? 0)) refused.push({ code: "young", age: use.age_min });
  if (paced && use.paced === "abstain") refused.push({ code: "paced" });
  if (refused.length) return { kind: "abstain", reasons: refused };
  if (!answered) return { kind: "ask" };
  recording.logits ??= await logitsOf(used);
  const answers = about.names.map((_, k) => placed(k, pooled(recording.logits ?? [], used, k)));
  const unchecked = /** @type {const} */ (["age", "paced"]).filter((name) => (name === "age" ? age === null : paced === null && use.paced === "abstain"));
  return { kind: "scored", answers, used: used.length, all: recording.windows.length, unchecked };
}

/** An outcome's mean over windows, each weighing as much as its quality, Σ wᵢ·logitᵢ / Σ wᵢ.
 * @param {number[]} logits `(windows · outcomes,)` @param {Window[]} used @param {number} k Of the outcome. */
function pooled(logits, used, k) {
  const weight = used.map(({ score }) => score), outcomes = logits.length / used.length;
  return sum(weight.map((w, i) => w * logits[i * outcomes + k])) / sum(weight);
}

/** An outcome's answer: the group of its score, its operating point, and how far above that it lies.
 * @param {number} k Of the outcome. @param {number} logit @returns {Answer} */
function placed(k, logit) {
  const { names, risk_groups: groups = [], operating_points: points = [], threshold } = model.about;
  const own = (/** @type {{name?: string}} */ one) => (one.name ?? names[k]) === names[k];
  const group = groups.find((one) => own(one) && logit >= (one.from ?? -Infinity) && logit < (one.to ?? Infinity)) ?? null;
  const level = [threshold.logit].flat()[k], margin = level === null ? null : logit - level;
  return { name: names[k], logit, score: 1 / (1 + Math.exp(-logit)), group, point: points.find(own) ?? null, margin };
}

/** @param {Window} window */
function upright(window) {
  const part = crop(recording.values, recording.rate, window.start, window.stop);
  return model.about.correct_polarity && window.inverted ? part.map((value) => -value) : part;
}

/** @param {Window[]} used */
async function logitsOf(used) {
  const { samples } = model.about;
  const x = new Float32Array(used.length * samples);
  used.forEach((window, i) => x.set(prepare(model.about.prepare, upright(window), recording.rate), i * samples));
  return scores(x, used.length);
}

/** Prepared windows, `count` in a row, to logits `(count · outcomes,)`; `told` hears how many are done, and where it listens one can cancel.
 * @param {Float32Array} x `(count · samples,)` @param {number} count
 * @param {(done: number, all: number) => void} [told] */
async function scores(x, count, told) {
  const { samples } = model.about;
  /** @type {number[]} */
  const found = [];
  for (let i = 0; i < count; i += AT_ONCE) {
    const rows = Math.min(AT_ONCE, count - i);
    const input = new ort.Tensor("float32", x.slice(i * samples, (i + rows) * samples), [rows, 1, samples]);
    found.push(.../** @type {Float32Array} */ ((await model.session.run({ x: input })).logit.data));
    told?.(i + rows, count);
    await new Promise((resolve) => setTimeout(resolve)); // a cancel may have come
    if (told && cancelled) throw new Error("cancelled");
  }
  return found;
}

/** Contributions of the waves of the first window that is used, to every outcome.
 * @param {{}} _ @param {Told} told @returns {Promise<Contributions[]>} */
async function explain(_, told) {
  cancelled = false;
  const { about } = model, window = recording.windows.find((one) => one.ok);
  if (!window) throw new Error("an explanation needs a stretch that can be judged");
  const scene = sceneOf(about.prepare, upright(window), recording.rate, model.layers);
  const found = await shares((x, count) => scores(x, count, (done, all) => told({ done, all })), scene);
  const { start, stop } = window, rate = about.prepared_rate;
  return about.names.map((_, k) => {
    const values = found.values.map((share) => share[k]);
    const spread = Float32Array.from(curve(scene, values));
    const largest = spread.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
    return { names: PLAYERS, values, start, stop, rate, curve: spread, largest };
  });
}

/** Samples of one frame of the strap, for the trace; the whole is kept until `strapped`.
 * @param {Verbs["streamed"][0]} given @returns {Verbs["streamed"][1]} */
function streamed({ bytes }) {
  const read = frame(new Uint8Array(bytes));
  strap.push(read);
  return { values: Float32Array.from(read.values) };
}

/** The end of a strap's recording: judged, but of no lead that a model reads. */
function strapped() {
  if (!strap.length) throw new Error("No sample came from the chest strap; wet its electrodes, wear it, and try again.");
  return taken({ ...joined(strap.splice(0)), lead: CHANNEL }, { name: "Polar H10", synthetic: false });
}

/** @type {Record<string, (given: any, told: Told) => any>} */
const VERBS = { load, open, judge, explain, streamed, strapped };
let queue = Promise.resolve();

/** @param {{id: number, verb: string, given: unknown}} request */
async function answer({ id, verb, given }) {
  try {
    const done = await VERBS[verb](given, (part) => self.postMessage({ id, part }));
    self.postMessage({ id, done }, ArrayBuffer.isView(done.values) ? [done.values.buffer] : []);
  } catch (error) {
    const { message, code } = /** @type {Error & {code?: string}} */ (error ?? {});
    self.postMessage({ id, failed: message ?? String(error), code: code ?? "" });
  }
}

self.onmessage = ({ data }) => {
  if (data.verb === "cancel") cancelled = true;
  else if (data.verb === "streamed") answer(data);
  else queue = queue.then(() => answer(data));
};
