/** What the page says: the answer, the contributions, the model, the kept answers. Elements only, never HTML text. */

import { moment, number, ofHundred, say, targetWords } from "./words.js";

/** @import {About, Abstained, Answer, Contributions, Interval, Kept, Outcome, Scored} from './types.d.ts' */

/** An element with text, attributes and children.
 * @param {string} tag @param {{text?: string, [name: string]: string | number | undefined}} given
 * @param {(Element | string)[]} children @returns {HTMLElement} */
export function element(tag, { text, ...attributes } = {}, children = []) {
  const space = tag in SVG ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const made = /** @type {HTMLElement} */ (document.createElementNS(space, tag)); // what is drawn is only put somewhere
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

const SVG = { svg: 1, rect: 1, line: 1 };

/** A share with its interval as words. @param {Interval} share */
function hundred([value, low, high]) {
  const counts = ofHundred(value, low, high);
  return say("range", { value: counts[0], low: counts[1], high: counts[2] });
}

const joined = (/** @type {string[]} */ words) => new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" }).format(words);

/** Why there is no score, as sentences. @param {Abstained} outcome */
export function reasons(outcome) {
  return outcome.reasons.map((reason) => {
    const words = { ...reason, seconds: number(reason.seconds ?? 0), reasons: joined((reason.reasons ?? []).map((one) => say(`reason_${one}`))) };
    return say(`why_${reason.code}`, words);
  });
}

/** Whether a score reaches its operating point. @param {Answer} answer */
const above = ({ margin }) => margin !== null && margin >= 0;

/** Places of the answers: those farthest above their operating points first, those without one last. @param {Answer[]} answers */
export function ranked(answers) {
  const height = answers.map(({ margin }) => margin ?? -Infinity);
  return [...answers.keys()].sort((a, b) => height[b] - height[a] || a - b);
}

/** Several answers as a table in which one can be chosen; of one there is none.
 * @param {HTMLTableElement} table @param {Answer[]} answers @param {number} chosen Its place. @param {About} about */
export function showAnswers(table, answers, chosen, about) {
  table.hidden = answers.length < 2;
  table.caption?.replaceChildren(...mark(about), `${aboveOf(answers)} ${say("by_chance")}`);
  table.tBodies[0].replaceChildren(...ranked(answers).map((place) => rowOf(answers[place], place, place === chosen)));
}

/** How many of them lie above their operating points. @param {Answer[]} answers */
export const aboveOf = (answers) => say("above_of", { count: number(answers.filter(above).length), all: number(answers.length) });

/** @param {Answer} answer @param {number} place @param {boolean} chosen */
function rowOf(answer, place, chosen) {
  const { name, group, point } = answer, high = above(answer);
  const pick = element("input", { type: "radio", name: "chosen", value: place, ...(chosen && { checked: "" }) });
  const risk = group ? hundred([group.risk, group.low, group.high]) : say("unknown");
  const alike = high ? point?.specificity[0] : point?.sensitivity[0], [share] = ofHundred(alike == null ? null : 1 - alike);
  const side = answer.margin === null ? say("no_point") : say(high ? "above_like" : "below_like", { share });
  const head = element("th", { scope: "row" }, [element("label", {}, [pick, ` ${targetWords(name)}`])]);
  return element("tr", high ? { class: "above" } : {}, [head, element("td", { text: risk }), element("td", { text: side })]);
}

/** The answer of the worker as elements; of several, that which is chosen.
 * @param {Element} host @param {Outcome} outcome @param {number} chosen Its place. @param {About} about */
export function showOutcome(host, outcome, chosen, about) {
  if (outcome.kind === "ask") return host.replaceChildren(element("p", { text: say("ask_first") }));
  if (outcome.kind === "abstain") {
    const why = reasons(outcome).map((sentence) => element("p", { text: sentence }));
    return host.replaceChildren(element("p", { class: "verdict" }, [element("strong", { text: say("abstains") })]), ...why);
  }
  const answer = outcome.answers[chosen], title = outcome.answers.length > 1 ? [element("h3", { text: targetWords(answer.name) })] : [];
  host.replaceChildren(...title, ...risk(answer, about), ...sides(answer), ...seen(outcome, answer));
}

/** Before an answer that is none about people. @param {About} about */
const mark = ({ origin }) => (origin === "real" ? [] : [element("strong", { class: "mark", text: say("synthetic") }), " "]);

/** @param {Answer} answer @param {About} about */
function risk({ name, group }, about) {
  if (!group) return [element("p", { class: "verdict" }, [...mark(about), say("no_group")])];
  const [risk, low, high] = ofHundred(group.risk, group.low, group.high);
  const where = say(about.origin === "real" ? "tested" : "simulated");
  const [span, middle] = [element("i"), element("b")];
  const bar = element("div", { class: "scalebar", "aria-hidden": "true" }, [span, middle]);
  Object.assign(span.style, { left: `${100 * group.low}%`, width: `${100 * (group.high - group.low)}%` });
  middle.style.left = `${100 * group.risk}%`;
  return [
    element("p", { class: "verdict" }, [...mark(about), say("risk", { risk, low, high, target: targetWords(name), where })]),
    bar,
    element("p", { class: "small", text: say("group", { n: number(group.n) }) }),
  ];
}

/** @param {Answer} answer */
function sides(answer) {
  const { name, margin, point } = answer, high = above(answer);
  const side = element("p", { text: say(margin === null ? "no_point" : high ? "above" : "below") });
  if (!point) return [side];
  const words = [say("point", { sensitivity: hundred(point.sensitivity), specificity: hundred(point.specificity), target: targetWords(name) })];
  if (!high && point.npv) words.push(say("npv", { npv: hundred(point.npv), trivial: ofHundred(point.trivial_npv)[0] }));
  return [side, element("p", { text: words.join(" ") })];
}

/** @param {Scored} outcome @param {Answer} answer */
function seen(outcome, { score }) {
  const used = say("used", { used: number(outcome.used), all: number(outcome.all), score: number(score, 3, { minimumFractionDigits: 3 }) });
  const lines = [element("p", { class: "small", text: used })];
  if (outcome.unchecked.length) lines.push(element("p", { class: "note", text: say("not_checked", { names: joined(outcome.unchecked.map((name) => say(name))) }) }));
  return lines;
}

/** A bar for each wave, the longest as long as there is room. @param {Element} host @param {Contributions | null} found */
export function showBars(host, found) {
  if (!found) return host.replaceChildren();
  const most = Math.max(...found.values.map(Math.abs), 1e-12);
  const words = say("bars", { baseline: say("isoelectric"), from: number(found.start, 1), to: number(found.stop, 1) });
  const rows = found.names.map((name, i) => {
    const size = 48 * (Math.abs(found.values[i]) / most), up = found.values[i] > 0;
    const drawn = element("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, [
      element("rect", { class: up ? "up" : "down", x: up ? 50 : 50 - size, y: 1, width: size, height: 8 }),
      element("line", { x1: 50, x2: 50, y1: 0, y2: 10, "stroke-width": 0.4 }),
    ]);
    const value = number(found.values[i], 2, { signDisplay: "exceptZero", minimumFractionDigits: 2 });
    return element("li", { class: "bar" }, [element("span", { text: name === "timing" ? say("timing") : name }), drawn, element("span", { text: value })]);
  });
  host.replaceChildren(element("p", { class: "small", text: words }), element("ol", { class: "plain" }, rows));
}

/** What the model is, as a list of terms. @param {Element} host @param {About} about */
export function showAbout(host, about) {
  const use = about.intended_use ?? {};
  const rows = [
    ["about_target", about.names.length > 1 ? joined(about.names.map(targetWords)) : targetWords(about.target)],
    ["about_origin", say(about.origin === "real" ? "origin_real" : "origin_synthetic")],
    ["about_use", say(use.paced === "abstain" ? "use_unpaced" : "use", { age: number(use.age_min ?? 0), lead: about.lead })],
    ["about_point", about.threshold.chosen],
    ["about_limits", about.limits],
    ["about_hash", `${about.system} ${about.version} · ${about.model.slice(0, 16)} · ${about.prepare} · ${about.precision}`],
  ];
  host.replaceChildren(...rows.filter(([, words]) => words).flatMap(([key, words]) => [element("dt", { text: say(key) }), element("dd", { text: words })]));
}

/** An answer in a few words, for the list of kept ones. @param {Kept} answer */
function inShort(answer) {
  if (answer.kind === "abstain") return `${say("abstains")}: ${reasons(answer).join(" ")}`;
  const mark = answer.origin === "real" ? "" : ` (${say("synthetic")})`;
  const { answers } = answer, [{ group }] = answers;
  const those = ranked(answers).filter((place) => above(answers[place])).map((place) => targetWords(answers[place].name));
  if (answers.length > 1) return `${aboveOf(answers)} ${joined(those)}${mark}`;
  if (!group) return `${say(above(answers[0]) ? "above" : "below")}${mark}`;
  const [risk, low, high] = ofHundred(group.risk, group.low, group.high);
  return `${targetWords(answer.target)}: ${say("in_hundred", { risk, low, high })}${mark}`;
}

/** The kept answers as rows of a table. @param {Element} body @param {Kept[]} answers */
export function showHistory(body, answers) {
  const cells = (/** @type {Kept} */ answer) => [moment(new Date(answer.when)), answer.file, inShort(answer)].map((text) => element("td", { text }));
  body.replaceChildren(...answers.map((answer) => element("tr", {}, cells(answer))));
}
