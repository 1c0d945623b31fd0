// @ts-check
/** Sounds as Python cuts them: what is no sound, windows at 16 kHz and their level, and when blocks become an alarm. */

const [SILENCE, FULL_SCALE, CLIPPED, REST] = [1e-5, 0.999, 0.2, 0.1];
const LEVEL = 10 ** (-30 / 20); // where "rms" puts each window

/** A WAV of 16-bit PCM: one channel as fractions of full scale, and its rate in Hz.
 * @param {Uint8Array} bytes @param {number} channel From 1. */
export function wav(bytes, channel) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const name = (/** @type {number} */ at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  let [rate, count, data] = [0, 0, new DataView(bytes.buffer, bytes.byteOffset, 0)];
  const known = bytes.length >= 12 && name(0) === "RIFF" && name(8) === "WAVE";
  for (let at = 12; known && at + 8 <= bytes.length; ) {
    const [kind, size] = [name(at), view.getUint32(at + 4, true)];
    if (kind === "fmt " && [1, 0xfffe].includes(view.getUint16(at + 8, true)) && view.getUint16(at + 22, true) === 16) {
      [count, rate] = [view.getUint16(at + 10, true), view.getUint32(at + 12, true)];
    }
    if (kind === "data") data = new DataView(view.buffer, view.byteOffset + at + 8, Math.min(size, bytes.length - at - 8));
    at += 8 + size + (size % 2);
  }
  if (!rate || !count || !data.byteLength) throw new Error("The file needs to be a WAV of 16-bit PCM and is not; convert it.");
  if (channel > count) throw new Error(`The file needs a channel ${channel} and has ${count}; record that one.`);
  const frames = Math.floor(data.byteLength / 2 / count);
  return { rate, values: Float32Array.from({ length: frames }, (_, i) => data.getInt16(2 * (i * count + channel - 1), true) / 32768) };
}

/** Why samples say nothing of a machine: "empty", "silent" or "clipped"; "" where they do. @param {Float32Array} values */
export function unusable(values) {
  if (!values.length) return "empty";
  let [low, high, clipped] = [Infinity, -Infinity, 0];
  for (const value of values) [low, high, clipped] = [Math.min(low, value), Math.max(high, value), clipped + Number(Math.abs(value) >= FULL_SCALE)];
  return high - low < 2 * SILENCE ? "silent" : clipped / values.length > CLIPPED ? "clipped" : "";
}

/** Samples at 16 kHz to windows: a shorter sound is repeated, a longer one cut end to end, and what is left over at the
 * end, where it is more than a tenth of a window, is in one more that ends with the sound.
 * @param {Float32Array} values @param {number} samples Of a window. @param {string} level "as-is" or "rms". */
export function windows(values, samples, level) {
  const whole = Math.floor(values.length / samples), rest = values.length - whole * samples;
  const starts = Array.from({ length: Math.max(whole, 1) }, (_, i) => i * samples);
  if (whole && rest > REST * samples) starts.push(values.length - samples);
  return starts.map((start) => levelled(Float32Array.from({ length: samples }, (_, i) => values[start + (i % (values.length - start))]), level));
}

/** @param {Float32Array} window @param {string} level */
function levelled(window, level) {
  if (level === "as-is") return window;
  const power = Math.sqrt(window.reduce((sum, value) => sum + value * value, 0) / window.length);
  return window.map((value) => value * (LEVEL / Math.max(power, SILENCE)));
}

/** Whether the last blocks make an alarm: k of the last n lie above its threshold. A block that could not be judged has
 * no number, and after more than n of those the count starts afresh.
 * @param {number[]} scores NaN where not judged. @param {{threshold: number, k: number, n: number}} alarm */
export function alarmed(scores, { threshold, k, n }) {
  let [from, missing] = [0, 0];
  scores.forEach((score, i) => {
    missing = Number.isFinite(score) ? 0 : missing + 1;
    if (missing > n) from = i;
  });
  return scores.slice(from).filter(Number.isFinite).slice(-n).filter((score) => score > threshold).length >= k;
}
