/** A page's graphs and what describes them, for its worker. */

import * as ort from "../ort/ort.wasm.min.mjs";

/** Files of the page by name: their addresses, or blobs where it is one file. @typedef {Record<string, string | Blob>} Files */

/** What is held by files of JSON. @param {Files} files @param {string[]} names @returns {Promise<any[]>} */
export const held = (files, ...names) => Promise.all(names.map(async (name) => (await fetched(files[name])).json()));

/** A graph to be run, which must be the one that the page was built with.
 * @param {Files} files @param {string} name @param {{sha256: Record<string, string>}} listed What `files.json` holds. */
export async function graphOf(files, name, listed) {
  if (!crypto.subtle) throw new Error("a page with a model needs https, 127.0.0.1 or a disk; open it there.");
  const graph = await (await fetched(files[name])).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", graph));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hash !== listed.sha256[name]) throw new Error(`${name} is not the file that this page was built with; load the page again.`);
  ort.env.logLevel = "error"; // not what it thinks of a graph's tidiness
  ort.env.wasm.numThreads = 1;
  const address = (/** @type {string | Blob} */ file) => (file instanceof Blob ? URL.createObjectURL(file) : file);
  ort.env.wasm.wasmPaths = { mjs: address(files["ort/ort-wasm-simd-threaded.mjs"]), wasm: address(files["ort/ort-wasm-simd-threaded.wasm"]) };
  return ort.InferenceSession.create(new Uint8Array(graph), { executionProviders: ["wasm"], logSeverityLevel: 3 });
}

/** @param {string | Blob} file */
async function fetched(file) {
  if (file instanceof Blob) return new Response(file);
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`${new URL(file).pathname} could not be had (${answer.status}); build the page again.`);
  return answer;
}
