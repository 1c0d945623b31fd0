/** Times the page in Chromium; prints medians in ms as one JSON object, by how much the CPU is slowed down.
 *
 * node timing.mjs GIVEN.json, with {url, file, repeats, chromium}; chromium the path of a browser, "" for the one of
 * the package @sparticuz/chromium. The worker's thread is slowed down in a session of its own, where the protocol can.
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { chromium } from "playwright-core";

const PATIENCE = 180_000; // ms
const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
const executablePath = given.chromium || (await (await import("@sparticuz/chromium")).default.executablePath());
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic"] });
const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
};

/** Slows the page's main thread and, where that is possible, its worker; returns whose thread was slowed. */
async function throttle(page, rate) {
  const session = await page.context().newCDPSession(page), slowed = ["page"];
  const workers = new Promise((resolve) => session.on("Target.attachedToTarget", resolve));
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  await session.send("Emulation.setCPUThrottlingRate", { rate });
  const worker = await Promise.race([workers, new Promise((resolve) => setTimeout(resolve, 2000, null))]);
  if (!worker) return slowed;
  const answered = new Promise((resolve) => session.on("Target.receivedMessageFromTarget", ({ message }) => resolve(JSON.parse(message))));
  const message = JSON.stringify({ id: 1, method: "Emulation.setCPUThrottlingRate", params: { rate } });
  await session.send("Target.sendMessageToTarget", { message, sessionId: worker.sessionId });
  const answer = await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, 2000, { error: { message: "no answer" } }))]);
  return answer.error ? [...slowed, `worker refused: ${answer.error.message}`] : [...slowed, "worker"];
}

/** In the page: what a loop of fixed work takes on its thread, ms; a slowed thread takes longer. */
function spin() {
  const from = performance.now();
  let x = 0;
  for (let i = 0; i < 5e7; i++) x = (x * 31 + i) | 0;
  return x === 0.5 ? 0 : performance.now() - from;
}

/** In the page: drops the file and, on what is seen of the answer, presses for contributions; times of both, ms. */
async function once({ text, name }) {
  const at = (id) => document.getElementById(id);
  const until = (holds, root) => new Promise((resolve) => {
    const watch = new MutationObserver(() => holds() && (watch.disconnect(), resolve(performance.now())));
    watch.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-logit", "hidden", "disabled"] });
  });
  const painted = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))));
  const tasks = [], seen = new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)));
  seen.observe({ type: "longtask" });
  const files = new DataTransfer();
  files.items.add(new File([text], name, { type: "text/csv" }));
  const scored = until(() => at("outcome").dataset.logit, at("outcome")), dropped = performance.now();
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
  await scored;
  const score = (await painted()) - dropped;
  const explained = until(() => at("bars").children.length && !at("explain").disabled, at("attribution")), pressed = performance.now();
  at("explain").click();
  await explained;
  const explain = (await painted()) - pressed;
  await new Promise((resolve) => setTimeout(resolve, 200)); // long tasks are told late
  seen.disconnect();
  return { score, explain, longest: Math.max(0, ...tasks) };
}

const found = { browser: browser.version(), repeats: given.repeats, text_bytes: readFileSync(given.file).length };
for (const rate of [1, 4]) {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.goto(given.url);
  await page.waitForSelector("#open:not([disabled])");
  await page.fill("#age", "60");
  await page.check("input[name=paced][value=no]");
  await page.evaluate(() => (document.getElementById("allow").checked = true));
  const slowed = rate > 1 ? await throttle(page, rate) : [];
  const work = await page.evaluate(spin), ofWorker = await page.workers()[0].evaluate(spin);
  const asked = { text: readFileSync(given.file, "utf8"), name: basename(given.file) }, each = [];
  const first = Math.round((await page.evaluate(once, asked)).longest); // nothing is compiled yet
  for (let i = 0; i < given.repeats; i++) each.push(await page.evaluate(once, asked));
  const of = (name) => Math.round(median(each.map((one) => one[name])));
  const longest = Math.round(Math.max(...each.map((one) => one.longest)));
  found[`${rate}x`] = { drop_to_score: of("score"), explain: of("explain"), longest_task: longest, longest_at_first: first, slowed, loop: { page: Math.round(work), worker: Math.round(ofWorker) } };
  await page.context().close();
}
await browser.close();
process.stdout.write(JSON.stringify(found));
