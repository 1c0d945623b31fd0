// @ts-check
/** The ECG of a chest strap (Polar H10) as its Bluetooth frames, little-endian: 0 for ECG · time of the last sample, ns
 * since 2000 (8 bytes) · 0 · samples of 3 bytes, signed, µV. A strap lies across the chest: its lead is no lead I. */
import { round, sum } from "./filters.js";

/** @typedef {{moment: bigint, time: number, values: Float64Array}} Frame Time of the last sample since 2000 in ns and
 * in seconds, and the samples in mV. */

export const SERVICE = "fb005c80-02e7-f387-1cad-8acd2d8df0c8";
export const CONTROL = "fb005c81-02e7-f387-1cad-8acd2d8df0c8";
export const DATA = "fb005c82-02e7-f387-1cad-8acd2d8df0c8";
/** Asks for the ECG at 130 Hz and 14 bits. */
export const START = Uint8Array.of(2, 0, 0, 1, 0x82, 0, 1, 1, 14, 0);
export const STOP = Uint8Array.of(3, 0);
export const CHANNEL = "chest";
const [NOMINAL, HEAD, LONGEST] = [130, 10, 600]; // Hz; bytes before the samples; seconds of a gap
const EPOCH = Date.UTC(2000, 0, 1);

/** The samples of one frame. @param {Uint8Array} bytes @returns {Frame} */
export function frame(bytes) {
  const size = bytes.length - HEAD;
  if (bytes[0] !== 0 || bytes[9] !== 0 || size < 3 || size % 3) {
    throw new Error(`A frame of ECG begins with 00 and has 10 bytes and 3 a sample; got ${bytes.length} bytes.`);
  }
  const moment = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(1, true);
  const values = Float64Array.from({ length: size / 3 }, (_, i) => {
    const at = HEAD + 3 * i;
    return (((bytes[at] << 8) | (bytes[at + 1] << 16) | (bytes[at + 2] << 24)) >> 8) / 1000;
  });
  return { moment, time: Number(moment) / 1e9, values };
}

/**
 * What frames hold together, in whatever order they came; one that came twice counts once.
 * @param {Frame[]} frames Two or more.
 * @returns {{values: Float64Array, rate: number, when: string | null}} mV, NaN where frames were lost, `(T,)`; Hz, as
 *   the time stamps tell; start in the strap's own time, null where its clock was not set.
 */
export function joined(frames) {
  const sorted = [...frames].sort((a, b) => Number(a.moment - b.moment));
  const kept = sorted.filter((one, i) => i === 0 || one.moment !== sorted[i - 1].moment);
  const steps = kept.slice(1).map(({ moment, values }, i) =>
    ({ seconds: Number(moment - kept[i].moment) / 1e9, size: values.length }));
  const plain = steps.map(({ seconds, size }) => Math.abs(seconds * NOMINAL - size) <= Math.max(0.1 * size, 2));
  const close = steps.filter((_, i) => plain[i]);
  if (!close.length) throw new Error("A strap's rate is told by two frames in a row; got none; record longer.");
  const rate = sum(close.map((step) => step.size)) / sum(close.map((step) => step.seconds));
  const gaps = steps.map(({ seconds, size }, i) => (plain[i] ? 0 : round(seconds * rate) - size));
  if (gaps.some((gap) => gap < 0) || steps.some(({ seconds }) => seconds > LONGEST)) {
    throw new Error("A strap's frames must follow one another; some overlap or lie minutes apart; record again.");
  }
  const parts = kept.map(({ values }, i) => [...Array(i ? gaps[i - 1] : 0).fill(NaN), ...values]);
  const start = EPOCH + kept[0].time * 1000 - ((kept[0].values.length - 1) / rate) * 1000;
  const when = new Date(start).getUTCFullYear() >= 2020 ? new Date(start).toISOString().slice(0, -1) : null;
  return { values: Float64Array.from(parts.flat()), rate, when };
}
