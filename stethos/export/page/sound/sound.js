/** The page of sounds: what is heard and shown, and the worker between. Nothing is computed here. */

import { inlined, where } from "../js/files.js";
import { Picture } from "./spectrogram.js";
import { fill, number, say, speak } from "../js/words.js";

const FILES = ["export.json", "files.json", "score.onnx", "judge.onnx", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"];
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const SHOWN = 60; // blocks on the chart
/** Elements of the page that are more than an element.
 * @typedef {Record<"language" | "theme" | "machine", HTMLSelectElement> & Record<"file" | "allow", HTMLInputElement>
 *   & Record<"open" | "listen", HTMLButtonElement> & Record<"spectrogram" | "scores", HTMLCanvasElement>
 *   & Record<string, HTMLElement>} Elements */
/** @typedef {{threshold: number, k: number, n: number}} Rule */
/** @typedef {{name: string, threshold: number, alarm: Rule | null, alarm_says: string}} Machine */
/** @typedef {{names: string[], machines: Machine[], seconds: number} & Record<"origin" | "limits" | "system" | "version" | "model", string>} About */
/** @typedef {{scores: number[], reason: string}} Block */
/** @typedef {object} State
 * @property {About} about There before anything else can be asked for. @property {number} machine
 * @property {Block[]} blocks @property {number[] | null} whole @property {string} reason
 * @property {boolean | null} alarm @property {(() => Promise<void>) | null} stop */
/** Of every verb of the worker: what it is given and what it answers.
 * @typedef {object} Verbs
 * @property {[{files: Record<string, string | Blob>}, {about: About}]} load
 * @property {[{bytes: ArrayBuffer}, {columns: Float32Array, blocks: Block[], whole?: number[], reason?: string}]} open
 * @property {[{rate: number}, {}]} listen
 * @property {[{values: Float32Array}, {columns: Float32Array, block?: Block}]} piece
 * @property {[{machine: number, blocks: Block[]}, {alarm: boolean | null}]} alarm */

/** @template {keyof Elements} K @param {K} id */
const at = (id) => /** @type {Elements[K]} */ (document.getElementById(id));
const state = /** @type {State} */ (/** @type {unknown} */ ({ about: null, machine: 0, blocks: [], whole: null, reason: "", alarm: null, stop: null }));
const picture = new Picture(at("spectrogram"));
const worker = new Worker(where("sound/worker.js"), { type: inlined ? "classic" : "module" });
/** @type {Map<number, {resolve: (done: any) => void, reject: (error: Error) => void}>} */
const waiting = new Map();
let asked = 0;

worker.onmessage = (/** @type {MessageEvent} */ { data }) => {
  const asking = waiting.get(data.id);
  if (!asking) return;
  const { resolve, reject } = asking;
  waiting.delete(data.id);
  if ("failed" in data) reject(new Error(data.failed));
  else resolve(data.done);
};
worker.onerror = (/** @type {ErrorEvent} */ event) => problem(say("error_model", { reason: event.message ?? "sound/worker.js" }));

/** @template {keyof Verbs} V @param {V} verb @param {Verbs[V][0]} given @returns {Promise<Verbs[V][1]>} */
function ask(verb, given) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, verb, given });
  });
}

/** @param {string} sentence */
function problem(sentence) {
  at("problem").hidden = !sentence;
  at("problem").textContent = sentence;
}

/** @param {() => unknown} work */
async function attempt(work) {
  problem("");
  try {
    await work();
  } catch (error) {
    problem(/** @type {Error} */ (error).message);
  }
}

// what is shown

const figure = (/** @type {number} */ value) => number(value, 3, { maximumSignificantDigits: 4 });
const machine = () => state.about.machines[state.machine];

function describe() {
  if (!state.about) return;
  const { name, threshold, alarm, alarm_says: says } = machine(), synthetic = state.about.origin !== "real";
  at("subtitle").textContent = document.title = say("sound_subtitle", { name });
  at("threshold").textContent = say("sound_threshold", { threshold: figure(threshold) });
  at("rule").textContent = alarm ? say("sound_alarm_rule", { ...alarm, threshold: figure(alarm.threshold), says }) : say("sound_no_alarm");
  at("synthetic").hidden = at("allow-field").hidden = !synthetic;
  at("listen").textContent = say(state.stop ? "sound_stop" : "sound_listen");
  at("limits").textContent = `${state.about.limits} ${state.about.system} ${state.about.version}, ${state.about.model.slice(0, 16)}, ${state.about.origin}.`;
  describeOutcome();
}

function describeOutcome() {
  const last = state.blocks.at(-1), { name, threshold, alarm } = machine(), hidden = state.about.origin !== "real" && !at("allow").checked;
  const heard = state.reason || last || state.whole, reason = state.reason || (!state.whole && last?.reason);
  const score = state.whole ? state.whole[state.machine] : last?.scores[state.machine];
  const values = { what: say(state.whole ? "sound_file" : "sound_block"), score: figure(score ?? 0), threshold: figure(threshold), name };
  const sentence = hidden ? say("sound_ask") : reason ? say(`sound_${reason}`) : say(Number(score) > threshold ? "sound_above" : "sound_below", values);
  const rung = state.alarm && alarm && !hidden ? `${say("sound_alarm", { ...alarm, threshold: figure(alarm.threshold) })} ` : "";
  at("outcome").textContent = heard ? rung + sentence : "";
  at("outcome").dataset.score = heard && !hidden && !reason ? String(score) : "";
  chart(hidden ? [] : state.blocks.slice(-SHOWN).map(({ scores }) => scores[state.machine]), threshold, alarm);
}

/** Scores as dots, thresholds as lines; what could not be judged leaves a gap.
 * @param {number[]} scores @param {number} threshold @param {Rule | null} alarm */
function chart(scores, threshold, alarm) {
  const canvas = at("scores"), paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")), { width, height } = canvas;
  const colour = (/** @type {string} */ name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const top = Math.max(threshold, alarm?.threshold ?? 0, ...scores.filter(Number.isFinite));
  const x = (/** @type {number} */ i) => ((i + 0.5) / SHOWN) * width;
  const y = (/** @type {number} */ score) => height * (0.95 - (0.9 * score) / top);
  paper.clearRect(0, 0, width, height);
  for (const [level, dash] of /** @type {[number | undefined, number[]][]} */ ([[threshold, [12, 8]], [alarm?.threshold, [3, 6]]])) {
    if (level === undefined) continue;
    paper.strokeStyle = colour("--warn"), paper.lineWidth = 2, paper.setLineDash(dash);
    paper.beginPath(), paper.moveTo(0, y(level)), paper.lineTo(width, y(level)), paper.stroke();
  }
  scores.forEach((score, i) => {
    paper.fillStyle = colour(score > threshold ? "--raise" : "--link");
    paper.beginPath(), paper.arc(x(i), y(score), 6, 0, 2 * Math.PI);
    if (Number.isFinite(score)) paper.fill();
  });
  if (state.about.origin === "real") return;
  paper.fillStyle = colour("--warn"), paper.globalAlpha = 0.35, paper.font = "bold 34px sans-serif", paper.textAlign = "center";
  paper.fillText(say("watermark"), width / 2, height / 2), paper.globalAlpha = 1;
}

// what is heard

function begun() {
  Object.assign(state, { blocks: [], whole: null, reason: "", alarm: null });
  picture.clear();
}

async function judged() {
  const { alarm } = await ask("alarm", { machine: state.machine, blocks: state.blocks });
  state.alarm = state.whole ? null : alarm;
  describe();
}

/** @param {File} file */
async function open(file) {
  begun();
  const { columns, ...found } = await ask("open", { bytes: await file.arrayBuffer() });
  picture.add(columns);
  Object.assign(state, { blocks: found.blocks, whole: found.whole ?? null, reason: found.reason ?? "" });
  await judged();
}

/** The address of what an AudioWorklet runs; on a disk, Chromium lets it have no blob. @param {string} name */
const worklet = async (name) => (inlined ? `data:text/javascript,${encodeURIComponent(await inlined[name].text())}` : where(name));

async function listen() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...PLAIN } }).catch((error) => {
    throw new Error(say("sound_refused", { reason: error.message }));
  });
  const context = new AudioContext(), [track] = stream.getAudioTracks();
  const changed = Object.keys(PLAIN).filter((name) => Object.entries(track.getSettings()).some(([key, value]) => key === name && value));
  await context.audioWorklet.addModule(await worklet("sound/microphone.js"));
  const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  begun();
  await ask("listen", { rate: context.sampleRate });
  let seconds = 0;
  node.port.onmessage = ({ data }) => attempt(async () => {
    const { columns, block } = await ask("piece", { values: data });
    if (!state.stop) return;
    picture.add(columns);
    seconds += data.length / context.sampleRate;
    at("status").textContent = say("sound_listening", { seconds: number(seconds), block: number(state.about.seconds, 1) });
    if (changed.length) problem(say("sound_changed", { what: changed.join(", ") }));
    if (!block) return;
    state.blocks = [...state.blocks, block].slice(-10 * SHOWN);
    await judged();
  });
  context.createMediaStreamSource(stream).connect(node);
  state.stop = async () => {
    track.stop();
    await context.close();
  };
  describe();
}

async function stop() {
  const { stop: end } = state;
  state.stop = null;
  await end?.();
  at("status").textContent = "";
  describe();
}

// hands and eyes

/** @param {string} language */
async function translate(language) {
  document.documentElement.lang = at("language").value = await speak(language);
  fill();
  describe();
}

/** @param {string} theme */
function appear(theme) {
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  if (state.about) describeOutcome();
}

async function begin() {
  /** @param {string} id @param {string} kind @param {() => unknown} work */
  const on = (id, kind, work) => at(id).addEventListener(kind, work);
  appear("auto");
  await translate(navigator.language);
  on("language", "change", () => attempt(() => translate(at("language").value)));
  on("theme", "change", () => appear(at("theme").value));
  on("machine", "change", () => attempt(() => ((state.machine = at("machine").selectedIndex), judged())));
  on("allow", "change", describe);
  on("listen", "click", () => attempt(state.stop ? stop : listen));
  on("open", "click", () => at("file").click());
  on("file", "change", () => attempt(async () => {
    const file = at("file").files?.[0];
    if (state.stop) await stop();
    if (file) await open(file).finally(() => (at("file").value = ""));
  }));
  at("status").textContent = say("loading");
  await attempt(async () => {
    state.about = (await ask("load", { files: inlined ?? Object.fromEntries(FILES.map((name) => [name, where(name)])) })).about;
    at("machine").replaceChildren(...state.about.names.map((name) => new Option(name)));
    at("listen").disabled = !navigator.mediaDevices;
    at("open").disabled = false;
    at("status").textContent = say("loaded");
  });
  describe();
  if ("serviceWorker" in navigator && !inlined) await navigator.serviceWorker.register(where("sw.js"));
}

begin();
