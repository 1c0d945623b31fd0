/** What the page says, in English, German and Chinese: `words/*.json`. */

import { where } from "./files.js";

const LANGUAGES = ["en", "de", "zh"];
let language = LANGUAGES[0];
/** By what they are called; `{x}` is filled in by `say`. @type {Record<string, string>} */
let words = {};

/** Chooses the language, "en" where it is not one of the three; returns which it is. @param {string} wanted */
export async function speak(wanted) {
  const chosen = LANGUAGES.find((one) => wanted.startsWith(one)) ?? LANGUAGES[0];
  words = await (await fetch(where(`words/${chosen}.json`))).json();
  return (language = chosen);
}

/** What is said of a key in the chosen language, with `{name}` filled in.
 * @param {string} key @param {Record<string, any>} values What is said of each; any can be. */
export function say(key, values = {}) {
  if (!words[key]) throw new Error(`no words for ${key}`);
  return words[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** The person's own kind of the chosen language, such as British English. */
function locale() {
  return globalThis.navigator?.languages?.find((one) => one.startsWith(language)) ?? language;
}

/** What writes numbers, kept: it is slow to make. @type {Map<string, Intl.NumberFormat>} */
const writers = new Map();

/** A number in the chosen language; `options` as of Intl.NumberFormat.
 * @param {number} value @param {number} digits @param {Intl.NumberFormatOptions} options */
export function number(value, digits = 0, options = {}) {
  const given = { maximumFractionDigits: digits, ...options }, key = JSON.stringify([language, given]);
  const writer = writers.get(key) ?? new Intl.NumberFormat(locale(), given);
  writers.set(key, writer);
  return writer.format(value);
}

/** What a model screens for, with the name of the quantity in the chosen language where that is known.
 * @param {string} target */
export function targetWords(target) {
  const quantity = /^\w*/.exec(target)?.[0] ?? "", key = `quantity_${quantity}`;
  return (key in words ? target.replace(quantity, say(key)) : target).replaceAll("_", " ");
}

/** A share and its interval as counts of 100: whole from 10 to 90, with a decimal nearer to the ends, where it matters.
 * @param {number | null} value @param {(number | null)[]} interval */
export function ofHundred(value, ...interval) {
  const digits = Number(value) >= 0.0995 && Number(value) <= 0.9005 ? 0 : 1;
  return [value, ...interval].map((share) => (share === null ? say("unknown") : number(100 * share, digits)));
}

/** A date and time in the chosen language. @param {Date} date */
export function moment(date) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" }).format(date);
}

/** Fills in all elements under `root` that name their words. */
export function fill(root = document) {
  /** @param {string} named @returns {NodeListOf<HTMLElement>} */
  const all = (named) => root.querySelectorAll(named);
  for (const element of all("[data-word]")) element.textContent = say(String(element.dataset.word));
  for (const element of all("[data-label]")) element.setAttribute("aria-label", say(String(element.dataset.label)));
}
