/** The page of sounds: what is heard and shown, and the worker between. Nothing is computed here. */

import "./words.js";
import { Picture } from "./spectrogram.js";
import { fill, number, say, speak } from "../js/words.js";

const FILES = ["export.json", "files.json", "score.onnx", "judge.onnx", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"];
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const SHOWN = 60; // blocks on the chart
const at = (id) => document.getElementById(id);
const where = (name) => new URL(name, document.baseURI).href;
const state = { about: null, machine: 0, blocks: [], whole: null, reason: "", alarm: null, stop: null };
const picture = new Picture(at("spectrogram"));
const worker = new Worker(where("sound/worker.js"), { type: "module" });
const waiting = new Map();
let asked = 0;

worker.onmessage = ({ data }) => {
  const { resolve, reject } = waiting.get(data.id);
  waiting.delete(data.id);
  if ("failed" in data) reject(new Error(data.failed));
  else resolve(data.done);
};
worker.onerror = (event) => problem(say("error_model", { reason: event.message ?? "sound/worker.js" }));

function ask(verb, given = {}) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, verb, given });
  });
}

function problem(sentence) {
  at("problem").hidden = !sentence;
  at("problem").textContent = sentence;
}

async function attempt(work) {
  problem("");
  try {
    await work();
  } catch (error) {
    problem(error.message);
  }
}

// what is shown

const figure = (value) => number(value, 3, { maximumSignificantDigits: 4 });
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
  const sentence = hidden ? say("sound_ask") : reason ? say(`sound_${reason}`) : say(score > threshold ? "sound_above" : "sound_below", values);
  const rung = state.alarm && !hidden ? `${say("sound_alarm", { ...alarm, threshold: figure(alarm.threshold) })} ` : "";
  at("outcome").textContent = heard ? rung + sentence : "";
  at("outcome").dataset.score = heard && !hidden && !reason ? score : "";
  chart(hidden ? [] : state.blocks.slice(-SHOWN).map(({ scores }) => scores[state.machine]), threshold, alarm);
}

/** Scores as dots, thresholds as lines; what could not be judged leaves a gap. */
function chart(scores, threshold, alarm) {
  const canvas = at("scores"), paper = canvas.getContext("2d"), { width, height } = canvas;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const top = Math.max(threshold, alarm?.threshold ?? 0, ...scores.filter(Number.isFinite));
  const [x, y] = [(i) => ((i + 0.5) / SHOWN) * width, (score) => height * (0.95 - (0.9 * score) / top)];
  paper.clearRect(0, 0, width, height);
  for (const [level, dash] of [[threshold, [12, 8]], [alarm?.threshold, [3, 6]]]) {
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

async function open(file) {
  begun();
  const { columns, ...found } = await ask("open", { bytes: await file.arrayBuffer() });
  picture.add(columns);
  Object.assign(state, { blocks: found.blocks, whole: found.whole ?? null, reason: found.reason ?? "" });
  await judged();
}

async function listen() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...PLAIN } }).catch((error) => {
    throw new Error(say("sound_refused", { reason: error.message }));
  });
  const context = new AudioContext(), [track] = stream.getAudioTracks();
  const changed = Object.keys(PLAIN).filter((name) => track.getSettings()[name]);
  await context.audioWorklet.addModule(where("sound/microphone.js"));
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
  await end();
  at("status").textContent = "";
  describe();
}

// hands and eyes

function translate(language) {
  document.documentElement.lang = at("language").value = speak(language);
  fill();
  describe();
}

function appear(theme) {
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  if (state.about) describeOutcome();
}

async function begin() {
  const on = (id, kind, work) => at(id).addEventListener(kind, work);
  appear("auto");
  translate(navigator.language);
  on("language", "change", ({ target }) => translate(target.value));
  on("theme", "change", ({ target }) => appear(target.value));
  on("machine", "change", ({ target }) => attempt(() => ((state.machine = target.selectedIndex), judged())));
  on("allow", "change", describe);
  on("listen", "click", () => attempt(state.stop ? stop : listen));
  on("open", "click", () => at("file").click());
  on("file", "change", ({ target }) => attempt(async () => {
    if (state.stop) await stop();
    if (target.files[0]) await open(target.files[0]).finally(() => (target.value = ""));
  }));
  at("status").textContent = say("loading");
  await attempt(async () => {
    state.about = (await ask("load", { files: Object.fromEntries(FILES.map((name) => [name, where(name)])) })).about;
    at("machine").replaceChildren(...state.about.names.map((name) => new Option(name)));
    at("listen").disabled = !navigator.mediaDevices;
    at("open").disabled = false;
    at("status").textContent = say("loaded");
  });
  describe();
  if ("serviceWorker" in navigator) await navigator.serviceWorker.register(where("sw.js"));
}

begin();
