/** What the page and its worker hand one another. */
import type { Window } from "./quality.js";
import type { Name } from "./prepare.js";

/** A value and its interval; null where unknown. */
export type Interval = [number | null, number | null, number | null];

export interface Group {
  name?: string;
  from: number | null;
  to: number | null;
  risk: number;
  low: number;
  high: number;
  n: number;
}

export interface Point {
  name?: string;
  logit: number;
  sensitivity: Interval;
  specificity: Interval;
  npv?: Interval;
  trivial_npv: number;
}

/** export.json, as far as the page reads it. */
export interface About {
  system: string;
  version: string;
  model: string;
  origin: string;
  target: string;
  /** Of the outcomes. */
  names: string[];
  lead: string;
  seconds: number;
  prepare: Name;
  samples: number;
  prepared_rate: number;
  correct_polarity?: boolean;
  precision: string;
  threshold: { logit: number | (number | null)[]; chosen: string };
  operating_points?: Point[];
  risk_groups?: Group[];
  intended_use?: { age_min?: number; paced?: string };
  limits: string;
}

/** A recording as it is shown; values in mV, NaN where missing, `(T,)`. */
export interface Shown {
  name: string;
  lead: string;
  rate: number;
  seconds: number;
  low: number;
  high: number;
  values: Float32Array;
  windows: Window[];
  heartRate: number;
  synthetic?: boolean;
  when?: string | null;
  device?: string;
  classification?: string;
  /** Whether "synthetic model" is written over it. */
  marked?: boolean;
  /** The person's facts that it was last judged by, as JSON. */
  asked?: string;
  contributions?: Contributions;
}

/** To one outcome: logits of each player, and spread over the samples of the window. */
export interface Contributions {
  names: string[];
  values: number[];
  start: number;
  stop: number;
  rate: number;
  curve: Float32Array;
  largest: number;
}

export interface Reason {
  code: string;
  seconds?: number;
  reasons?: string[];
  needed?: string;
  lead?: string;
  age?: number;
}

export interface Abstained {
  kind: "abstain";
  reasons: Reason[];
}

/** What is said of one outcome; logits from the operating point upwards, null without one. */
export interface Answer {
  name: string;
  logit: number;
  score: number;
  group: Group | null;
  point: Point | null;
  margin: number | null;
}

export interface Scored {
  kind: "scored";
  /** In the order of the names. */
  answers: Answer[];
  used: number;
  all: number;
  unchecked: ("age" | "paced")[];
}

export type Outcome = { kind: "ask" } | Abstained | Scored;

/** An answer that was kept. */
export type Kept = (Abstained | Scored) & {
  when: string;
  file: string;
  target: string;
  model: string;
  origin: string;
  system: string;
  version: string;
};

/** What a person says: age and pacemaker, null where not known, and whether both were answered. */
export interface Person {
  age: number | null;
  paced: boolean | null;
  answered: boolean;
  allow: boolean;
}

/** Of every verb of the worker: what it is given and what it answers. */
export interface Verbs {
  load: [{ files: Record<string, string | Blob> }, { about: About; samples: string[] }];
  open: [{ bytes: ArrayBuffer; name: string; synthetic: boolean } & Statement, Shown];
  judge: [Person, Outcome];
  explain: [{}, Contributions[]];
  streamed: [{ bytes: ArrayBuffer }, { values: Float32Array }];
  strapped: [{}, Shown];
}

/** What a person states of a file that does not. */
export interface Statement {
  rate?: number;
  unit?: string;
  lead?: string;
}
