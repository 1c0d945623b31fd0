// @ts-check
/** Recordings of one lead as watches, hand-held recorders and straps export them. A file is told by its content. Names,
 * birth dates and identifiers are passed over, and are in nothing that is returned. */
import { round } from "./filters.js";
import { CHANNEL, frame, joined } from "./polar.js";

/**
 * @typedef {object} Recording
 * @property {string} lead Such as "I"; "not stated" where the file does not say.
 * @property {number} rate Hz, as stated. @property {Float64Array} values mV, NaN where nothing was recorded, `(T,)`.
 * @property {string | null} when Start in the time of the place, as ISO 8601; null where unknown.
 * @property {string} device @property {string} classification What the maker said of the rhythm. "" where unknown.
 * @property {string} source Whose format it is.
 */
/** @typedef {{rate?: number | null, unit?: string | null}} Stated What the person says of a file that does not. */
/** @typedef {Record<string, any>} Held An object of a JSON document. */

const KNOWN = "Apple Watch, Samsung, Kardia, Fitbit, Google Health, Withings, Polar, and a CSV with one column";
const LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];
const LEAD = /(?<![A-Za-z0-9])(I{1,3}|aV[RLF]|V[1-9])(?![A-Za-z0-9.])/i;
const NUMBER = /^"?[-+\u2212]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?"?,?$/i;
const RATE = /^(\d+(?:[.,]\d+)?)\s*(?:hz|hertz(?:ios)?|hercios?|赫兹|赫茲|赫|ヘルツ|헤르츠|герц)\.?$/i;
const UNIT = /^(?:[µμumn]v|微伏|毫伏)$/i;
const MOMENT = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)/;
const CLASS = /[ck]lass?ifi|clasific|分类|分類/i;
const DEVICE = /device|gerät|appareil|dispositi|apparat|设备|設備|裝置|装置/i;
const FRAME = /^(?:0x)?[0-9a-f]{2}(?:[ :\t-]?[0-9a-f]{2}){12,}$/i;
/** @type {Record<string, number>} */
const MILLIVOLTS = { v: 1000, mv: 1, uv: 1e-3, mcv: 1e-3, nv: 1e-6, 微伏: 1e-3, 毫伏: 1 };
const [FEWEST, DEEPEST] = [10, 6]; // samples of a recording; levels of a JSON that are searched
const ARMS = [0, 1, 2, 3, 13, 14, 29, 30, 31]; // where Withings' recorders give lead I
const [HIGHEST, LONGEST] = [0.1, 600]; // V; seconds of a gap
const [JUMP, FOLLOW] = [0.75, 0.05]; // samples of lateness that are a gap; how fast times are followed

/** @param {string} message What was needed, what came, what to do. @param {string} [code] "rate" or "unit" where nobody
 * states it. @returns {never} */
function refuse(message, code = "") {
  throw Object.assign(new Error(message), { code });
}

/**
 * Read a recording of whichever format; an error's `code` is "rate" or "unit" where the person must state it.
 * @param {Uint8Array} bytes Of the file. @param {string} name Of the file, for messages.
 * @param {Stated} [stated] Hz and unit, for a file that states none. @returns {Recording}
 */
export function sniff(bytes, name, stated = {}) {
  try {
    return read(bytes, stated);
  } catch (error) {
    const { message, code } = /** @type {Error & {code?: string}} */ (error);
    return refuse(`${name}: ${message}`, code);
  }
}

/** @param {Uint8Array} bytes @param {Stated} stated @returns {Recording} */
function read(bytes, stated) {
  if (letters(bytes, 0, 8) === "ALIVE\0\0\0") return atc(bytes);
  if (letters(bytes, 0, 2) === "PK") refuse("needs a recording and is an archive; unpack it, open one of its files.");
  const text = decoded(bytes);
  const none = text.includes("\0") || /^\s*(?:<|%PDF|$)/.test(text);
  if (none) refuse(`needs one of the formats that are read here (${KNOWN}) and is none; export it as one of these.`);
  if (/^\s*[{[]/.test(text)) return json(text, stated);
  const plain = text.replace(/[\u00a0\u2007\u2009\u202f]/g, " ").replace(/[\u200e\u200f\u061c\ufeff]/g, "");
  const lines = plain.split(/\r\n|\r|\n/).map((line) => line.trim());
  const frames = lines.filter((line) => line && !line.startsWith("#"));
  return frames.every((line) => FRAME.test(line)) ? strap(frames) : column(lines, stated);
}

/** @param {Uint8Array} bytes @param {number} from @param {number} to */
const letters = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

/** UTF-8, UTF-16 with its mark, or else Windows-1252. @param {Uint8Array} bytes */
function decoded(bytes) {
  const mark = letters(bytes, 0, 2);
  if (mark === "\xff\xfe" || mark === "\xfe\xff") {
    return new TextDecoder(mark === "\xff\xfe" ? "utf-16le" : "utf-16be").decode(bytes);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** Lines "key,value" in any language (Apple, Samsung), told by their values, and one sample a line; or samples alone.
 * @param {string[]} lines @param {Stated} stated @returns {Recording} */
function column(lines, stated) {
  const first = lines.findIndex((line) => NUMBER.test(line));
  const header = lines.slice(0, Math.max(first, 0)).filter(Boolean).map((line) => {
    const [key, ...rest] = line.split(",");
    return { key, value: rest.join(",").replace(/^[ "]+|[ ",]+$/g, "") };
  });
  const filled = header.filter(({ value }) => value);
  const watch = filled.some(({ value }) => UNIT.test(value) || RATE.test(value));
  const cells = lines.slice(header.length ? first : 0).filter((line) => line.replace(/[",]/g, ""));
  const wrong = cells.find((cell) => !NUMBER.test(cell) || (!watch && cell.includes(",")));
  if (wrong) refuse(`needs one number a line below its header and has "${wrong.slice(0, 20)}"; known are ${KNOWN}.`);
  if (cells.length < FEWEST) refuse(`needs a sample a line and has ${cells.length} of them; known are ${KNOWN}.`);
  const at = filled.findIndex(({ value }) => UNIT.test(value));
  const beside = (at < 0 ? [] : [filled[at - 1], filled[at + 1]]).map((line) => line?.value ?? "");
  const known = (watch ? beside : header.map(({ key }) => key)).map((value) => LEAD.exec(value)?.[1]).find(Boolean);
  const other = !watch || beside.some((value) => value && !RATE.test(value) && !MOMENT.test(value));
  const lead = known ?? (other ? "not stated" : "I");
  const rate = filled.map(({ value }) => RATE.exec(value)?.[1]).find(Boolean)?.replace(",", ".");
  const of = (/** @type {RegExp} */ key) => filled.find((line) => key.test(line.key))?.value;
  const facts = { when: filled.find(({ value }) => MOMENT.test(value))?.value, device: of(DEVICE) };
  const source = !watch ? "CSV" : /^SM-|galaxy/i.test(facts.device ?? "") ? "Samsung" : "Apple Watch";
  const values = cells.map((cell) => Number(cell.replace(/[",]+$|^"/g, "").replace(",", ".").replace("\u2212", "-")));
  const scale = millivolts(filled[at]?.value ?? stated.unit);
  return recording(source, lead, hertz(rate ?? stated.rate), values, scale, { ...facts, classification: of(CLASS) });
}

/** @param {string} source @param {string} lead @param {number} rate @param {number[] | Float64Array} values
 * @param {number} scale mV of one. @param {{when?: unknown, device?: unknown, classification?: unknown}} facts
 * @returns {Recording} */
function recording(source, lead, rate, values, scale, { when, device, classification }) {
  const standard = LEADS.find((known) => known.toLowerCase() === lead.toLowerCase()) ?? lead;
  const words = (/** @type {unknown} */ fact) => (typeof fact === "string" ? fact : "");
  const rest = { when: moment(when), device: words(device), classification: words(classification), source };
  return { lead: standard, rate, values: Float64Array.from(values, (value) => value * scale), ...rest };
}

/** A moment in the time of the place, as it stands at the beginning of a text. @param {unknown} text */
const moment = (text) => MOMENT.exec(`${text}`)?.slice(1).join("T") ?? null;

/** A rate that somebody states, Hz. @param {unknown} stated */
function hertz(stated) {
  const rate = Number(stated ?? NaN);
  if (rate > 0 && rate < Infinity) return rate;
  return refuse(`needs a sampling rate in Hz and states ${stated ?? "none"}; state it.`, "rate");
}

/** mV of a unit. @param {unknown} unit */
function millivolts(unit) {
  const scale = MILLIVOLTS[`${unit}`.replace(/[µμ]/, "u").toLowerCase()];
  return scale ?? refuse(`needs a unit (V, mV, µV or nV) and states ${unit ?? "none"}; state it.`, "unit");
}

/** Frames in hexadecimal, one a line; those that are no ECG are passed over. @param {string[]} lines
 * @returns {Recording} */
function strap(lines) {
  const pairs = lines.map((line) => line.replace(/0x|[ :\t-]/gi, "").match(/../g) ?? []);
  const bytes = pairs.map((each) => Uint8Array.from(each, (pair) => parseInt(pair, 16)));
  const { values, rate, when } = joined(bytes.filter((one) => one[0] === 0).map(frame));
  return recording("Polar", CHANNEL, rate, values, 1, { when, device: "chest strap" });
}

/** AliveCor's .atc: blocks of a name, a length, data, and the sum of all these bytes. @param {Uint8Array} bytes
 * @returns {Recording} */
function atc(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes.length < 12 ? 0 : view.getUint32(8, true);
  if (version < 2 || version > 5) refuse(`needs version 2 to 5 of .atc and is of ${version}; export it as JSON.`);
  /** @type {Record<string, Uint8Array>} */
  const blocks = {};
  for (let at = 12, end = 0; at < bytes.length; at = end + 4) {
    end = at + 8 > bytes.length ? Infinity : at + 8 + view.getUint32(at + 4, true);
    if (end + 4 > bytes.length) refuse(`is an .atc that is cut off after ${bytes.length} bytes; copy the whole file.`);
    const total = bytes.subarray(at, end).reduce((all, byte) => all + byte, 0);
    if (total !== view.getUint32(end, true)) refuse("is an .atc with a damaged block (another sum); copy it again.");
    blocks[letters(bytes, at, at + 4)] ??= bytes.slice(at + 8, end);
  }
  const { "fmt ": format, info = new Uint8Array(0) } = blocks;
  const names = LEADS.map((_, i) => (i ? `ecg${(i + 1).toString(16)}` : "ecg "));
  const lead = names.findIndex((name) => blocks[name]);
  if (!format || format.length < 5 || lead < 0) refuse("needs blocks fmt and ecg and lacks one; export it again.");
  const coded = new DataView(format.buffer);
  const step = coded.getUint16(3, true);
  if (format[0] !== 1 || !step) refuse("needs 16-bit steps of some nV (format 1) and has others; export it as JSON.");
  const data = new DataView(blocks[names[lead]].buffer);
  const values = Array.from({ length: data.byteLength >> 1 }, (_, i) => data.getInt16(2 * i, true));
  const facts = { when: letters(info, 0, 32), device: letters(info, 180, 212).replace(/\0.*/s, "") };
  return recording("Kardia", LEADS[lead], hertz(coded.getUint16(1, true)), values, step * 1e-6, facts);
}

/** @param {string} text @param {Stated} stated @returns {Recording} */
function json(text, stated) {
  /** @type {unknown} */
  let document = null;
  try {
    document = JSON.parse(text);
  } catch {
    refuse("looks like JSON that is damaged or cut off; copy it again.");
  }
  const found = recordingsIn(document, 0);
  return found.length === 1 ? found[0]() : refuse(`needs one recording and has ${found.length}; known are ${KNOWN}.`);

  /** What reads each recording in it. @param {any} held @param {number} depth @returns {(() => Recording)[]} */
  function recordingsIn(held, depth) {
    if (typeof held !== "object" || !held || depth > DEEPEST) return [];
    if (Array.isArray(held.voltageMeasurements)) return [() => apple(held, stated)];
    if (held.data?.raw?.samples) return [() => kardia(held, stated)];
    if (Array.isArray(held.waveformSamples)) return [() => fitbit(held, stated)];
    if (Array.isArray(held.signal) && "sampling_frequency" in held) return [() => withings(held, stated)];
    return Object.values(held).flatMap((each) => recordingsIn(each, depth + 1));
  }
}

/** Apple Health: [[s, V], …], [{timeSinceSampleStart, value, unit}, …], with dates, or voltages alone.
 * @param {Held} held @param {Stated} stated @returns {Recording} */
function apple(held, stated) {
  const all = { ...held.harmonized, ...held };
  const entries = all.voltageMeasurements.map((/** @type {any} */ each) => {
    if (typeof each !== "object" || !each) return { volts: each };
    if (Array.isArray(each)) return { seconds: each[0], volts: each[1] };
    const one = { ...each.harmonized, ...each };
    const dated = /\.\d/.test(one.date) ? Date.parse(`${moment(one.date)}Z`) / 1000 : NaN;
    const seconds = one.timeSinceSampleStart ?? one.timeSinceStart ?? one.time ?? one.t ?? dated;
    return { seconds, volts: one.value ?? one.voltage, unit: one.unit ?? one.units };
  });
  const rate = hertz(all.samplingFrequency ?? stated.rate);
  const values = numbers(entries.map((/** @type {Held} */ entry) => entry.volts));
  const unit = entries[0].unit ?? stated.unit;
  const high = !unit && values.some((value) => Math.abs(value) > HIGHEST);
  const timed = placed(values, entries.map((/** @type {Held} */ entry) => entry.seconds ?? NaN), rate);
  const facts = { when: all.startDate ?? all.start, device: all.device, classification: all.classification };
  return recording("Apple Health", "I", rate, timed, millivolts(high ? undefined : unit ?? "V"), facts);
}

/** Samples on the grid of the rate, with gaps where their times jump. @param {number[]} values
 * @param {number[]} seconds NaN where not stated. @param {number} rate @returns {number[]} */
function placed(values, seconds, rate) {
  const [first, last] = [seconds.findIndex(Number.isFinite), seconds.length - 1];
  let grid = seconds[first] * rate - first;
  /** @type {number[]} */
  const out = [];
  values.forEach((value, i) => {
    const late = i ? seconds[i] * rate - grid - out.length : 0;
    const lost = late > JUMP ? round(late) : 0;
    const jumps = lost > LONGEST * rate || seconds[i] <= seconds[i - 1];
    if (jumps) refuse(`needs times that rise, without gaps of minutes; sample ${i + 1} is otherwise; cut it there.`);
    grid += FOLLOW * (late - lost || 0);
    out.push(...Array(lost).fill(NaN), value);
  });
  const span = seconds[last] - seconds[first];
  const off = Math.abs((out.length - 1 - first) / span - rate) > Math.max(0.01 * rate, 1 / span);
  return off ? refuse(`states a rate of ${rate} Hz, and its times tell another; export it again.`) : out;
}

/** @param {Held} held @param {Stated} stated @returns {Recording} */
function kardia(held, stated) {
  const { samples, frequency, amplitudeResolution } = held.data.raw;
  const key = "leadI" in samples ? "leadI" : Object.keys(samples)[0] ?? "";
  const [rate, scale] = [hertz(frequency ?? stated.rate), positive(amplitudeResolution) * 1e-6];
  const [when, device, classification] = [held.recordedAt, held.deviceInfo?.hardwareType, held.algorithmDetermination];
  const facts = { when, device, classification };
  return recording("Kardia", key.replace(/^lead/i, ""), rate, numbers(samples[key]), scale, facts);
}

/** Fitbit and Google Health. @param {Held} held @param {Stated} stated @returns {Recording} */
function fitbit(held, stated) {
  const all = { ...held.medicalDeviceInfo, ...held.interval, ...held };
  const values = numbers(all.waveformSamples);
  const promised = Number(all.numberOfWaveformSamples ?? values.length);
  if (promised !== values.length) refuse(`promises ${promised} samples and holds ${values.length}; copy it again.`);
  if (Number(all.leadNumber ?? 1) !== 1) refuse(`needs one lead and holds ${all.leadNumber}; export each alone.`);
  const rate = hertz(all.samplingFrequencyHz ?? all.samplingFrequencyHertz ?? stated.rate);
  const steps = positive(all.scalingFactor ?? all.millivoltsScalingFactor);
  const [when, device, classification] = [all.startTime, all.deviceName ?? all.deviceModel, all.resultClassification];
  return recording("Fitbit", "I", rate, values, 1 / steps, { when, device, classification });
}

/** @param {Held} held @param {Stated} stated @returns {Recording} */
function withings(held, stated) {
  const lead = ARMS.includes(Number(held.wearposition ?? 0)) ? "I" : `wear position ${held.wearposition}`;
  return recording("Withings", lead, hertz(held.sampling_frequency ?? stated.rate), numbers(held.signal), 1e-3, {});
}

/** @param {unknown} scale */
function positive(scale) {
  return Number(scale) > 0 ? Number(scale) : refuse(`needs a scale of its samples and states ${scale}; export again.`);
}

/** NaN where one is null. @param {unknown} list @returns {number[]} */
function numbers(list) {
  const fine = Array.isArray(list) && list.length && list.every((value) => value === null || typeof value === "number");
  return fine ? list.map((value) => value ?? NaN) : refuse("needs a list of numbers as samples; export it again.");
}
