/** All that is computed of a sound: windows, the spectrogram, the graphs, and what blocks make together. One request at
 * a time, in order. */

import * as ort from "../ort/ort.wasm.min.mjs";
import { alarmed, unusable, wav, windows } from "./clip.js";
import { graphOf, held } from "../js/graph.js";
import { resample } from "../js/resample.js";
import { Columns } from "./spectrogram.js";

/** @typedef {{name: string, threshold: number, alarm: {threshold: number, k: number, n: number} | null}} Machine */
/** @typedef {{machines: Machine[], channel: number | string, rate: number, samples: number, seconds: number, level: string}} About */
/** @typedef {{about: About, score: ort.InferenceSession, judge: ort.InferenceSession}} Model */
/** @typedef {{rate: number, pieces: Float32Array[], length: number, columns: Columns}} Live */

let model = /** @type {Model} */ (/** @type {unknown} */ (null)); // nothing is asked before `load` is done
let live = /** @type {Live} */ (/** @type {unknown} */ (null)); // nor of a microphone before `listen`

/** @param {{files: import("../js/graph.js").Files}} given */
async function load({ files }) {
  const [about, listed] = await held(files, "export.json", "files.json");
  const [score, judge] = [await graphOf(files, "score.onnx", listed), await graphOf(files, "judge.onnx", listed)];
  model = { about, score, judge };
  return { about };
}

/** One window: its embedding, and its score by every machine. @param {Float32Array} window */
async function heard(window) {
  const { embedding, score } = await model.score.run({ x: new ort.Tensor("float32", window, [1, 1, window.length]) });
  return { embedding: numbers(embedding), scores: [...numbers(score)] };
}

/** @param {ort.Tensor} tensor */
const numbers = (tensor) => /** @type {Float32Array} */ (tensor.data);

/** A file: its windows, and the whole by its mean embedding, as Python judges it. @param {{bytes: ArrayBuffer}} given */
async function open({ bytes }) {
  const { about } = model, { values, rate } = wav(new Uint8Array(bytes), Number(about.channel));
  const reason = unusable(values), sound = resample(values, rate, about.rate);
  const columns = new Columns(), picture = [columns.push(sound), columns.end()], found = { rate, seconds: values.length / rate };
  const shown = Float32Array.from([...picture[0], ...picture[1]]);
  if (reason) return { ...found, columns: shown, reason, blocks: [] };
  /** @type {Awaited<ReturnType<typeof heard>>[]} */
  const each = [];
  for (const window of windows(sound, about.samples, about.level)) each.push(await heard(window));
  const mean = Float32Array.from(each[0].embedding, (_, i) => each.reduce((sum, { embedding }) => sum + embedding[i], 0) / each.length);
  const { score } = await model.judge.run({ embedding: new ort.Tensor("float32", mean, [1, mean.length]) });
  return { ...found, columns: shown, whole: [...numbers(score)], blocks: each.map(({ scores }) => ({ scores, reason: "" })) };
}

/** The beginning of what a microphone hears at a rate. @param {{rate: number}} given */
function listen({ rate }) {
  live = { rate, pieces: [], length: 0, columns: new Columns() };
  return {};
}

/** A piece of it: columns for the picture, and, where a block of the model's length is full, its scores.
 * @param {{values: Float32Array}} given */
async function piece({ values }) {
  const { about } = model, { rate } = live, needed = Math.round(about.seconds * rate);
  live.pieces.push(values);
  live.length += values.length;
  const told = { columns: live.columns.push(resample(values, rate, about.rate)) };
  if (live.length < needed) return told;
  const all = new Float32Array(live.length);
  live.pieces.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  Object.assign(live, { pieces: [all.slice(needed)], length: all.length - needed });
  const block = all.slice(0, needed), reason = unusable(block);
  if (reason) return { ...told, block: { reason, scores: about.machines.map(() => NaN) } };
  const { scores } = await heard(windows(resample(block, rate, about.rate), about.samples, about.level)[0]);
  return { ...told, block: { reason, scores } };
}

/** Whether the blocks so far are an alarm of a machine; null where it has none.
 * @param {{machine: number, blocks: {scores: number[]}[]}} given */
function alarm({ machine, blocks }) {
  const { alarm: rules } = model.about.machines[machine];
  return { alarm: rules && alarmed(blocks.map(({ scores }) => scores[machine]), rules) };
}

/** @type {Record<string, (given: any) => any>} */
const VERBS = { load, open, listen, piece, alarm };
let queue = Promise.resolve();

/** @param {{id: number, verb: string, given: unknown}} request */
async function answer({ id, verb, given }) {
  try {
    self.postMessage({ id, done: await VERBS[verb](given) });
  } catch (error) {
    self.postMessage({ id, failed: /** @type {Error} */ (error)?.message ?? String(error) });
  }
}

self.onmessage = ({ data }) => (queue = queue.then(() => answer(data)));
