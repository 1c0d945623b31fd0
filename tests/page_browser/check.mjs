/** Drives the page in Chromium; prints, as one JSON object, what each check saw. What is right is for pytest to say.
 *
 * node check.mjs GIVEN.json, with {url, several, files, out, single, chromium, only}: several the page of a model of
 * several outcomes; files {strip, long, corrupt, poor, bare}; chromium the path of a browser, "" for the one of the
 * package @sparticuz/chromium.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const PATIENCE = 120_000; // ms: a machine may be busy with other things
const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const executablePath = given.chromium || (await (await import("@sparticuz/chromium")).default.executablePath());
const browser = await chromium.launch({ executablePath, args: FLAGS });
const requests = new Set(), complaints = [], seen = {};

async function opened({ url = given.url, setup, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
  context.setDefaultTimeout(PATIENCE);
  context.on("request", (request) => requests.add(request.url()));
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  if (setup) await page.addInitScript(setup);
  await page.goto(url);
  await page.waitForSelector("#open:not([disabled])");
  return page;
}

async function scored(page, file) {
  await page.evaluate(() => delete document.querySelector("#outcome").dataset.logit);
  await page.setInputFiles("#file", file);
  await page.fill("#age", "60");
  await page.check("input[name=paced][value=no]");
  await page.check("#allow");
  await page.waitForFunction(() => document.querySelector("#outcome").dataset.logit);
  return answer(page);
}

async function answer(page) {
  const logit = await page.getAttribute("#outcome", "data-logit");
  return { logit: logit ? Number(logit) : null, text: await page.innerText("#outcome") };
}

async function explained(page) {
  await page.click("#explain");
  await page.waitForSelector("#bars li");
}

/** How the page looks on a phone and a desk, light and dark; adds to `found` what is wrong. */
async function looked(page, state, found) {
  for (const [width, height] of [[390, 844], [1280, 800]]) {
    for (const scheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: scheme });
      await page.waitForFunction((wanted) => document.documentElement.dataset.theme === wanted, scheme);
      await drawn(page);
      await page.screenshot({ path: `${given.out}/${width}-${scheme}${state}.png`, fullPage: true });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      found[`${width}-${scheme}${state}`] = { overflow, violations: await serious(page) };
    }
  }
}

async function serious(page) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
}

const checks = {
  async score(page) {
    const found = await scored(page, given.files.strip);
    await page.fill("#age", "12"); // typed, so that it counts without leaving the field
    await page.waitForFunction(() => document.querySelector("#outcome").dataset.logit === "");
    return { ...found, young: await answer(page), warning: await page.innerText("#warning") };
  },

  async long(page) {
    const found = await scored(page, given.files.long);
    const box = await page.locator("#trace").boundingBox(), label = () => page.getAttribute("#trace", "aria-label");
    const before = await label();
    await page.mouse.move(box.x + 400, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + 200, box.y + 40, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction((old) => document.querySelector("#trace").ariaLabel !== old, before);
    const dragged = [before, await label()];
    return { ...found, dragged, windows: await page.locator("#windows li").allInnerTexts() };
  },

  async refused(page) {
    await page.fill("#age", "60");
    await page.uncheck("#allow");
    await page.setInputFiles("#file", given.files.corrupt);
    await page.waitForSelector("#problem:not([hidden])");
    const corrupt = await page.innerText("#problem");
    await page.setInputFiles("#file", given.files.strip);
    await page.waitForFunction(() => document.querySelectorAll("#outcome p").length === 2);
    const real = await answer(page);
    await page.setInputFiles("#file", given.files.poor);
    await page.waitForFunction(() => document.querySelectorAll("#outcome p").length === 3);
    const poor = await answer(page);
    await page.check("#allow");
    await page.setInputFiles("#file", given.files.bare);
    await page.waitForSelector("#stated:not([hidden])");
    await page.fill("#age", "60");
    await page.waitForTimeout(600); // longer than the page waits for the rest of an age: the sentence must still be there
    const bare = await page.innerText("#problem");
    await page.fill("#stated-rate", "500");
    await page.click("#stated button");
    await page.waitForSelector("#outcome .verdict");
    const unstated = await answer(page);
    await page.selectOption("#stated-lead", "I");
    await page.click("#stated button");
    await page.waitForFunction(() => document.querySelector("#outcome").dataset.logit);
    return { corrupt, real, poor, bare, unstated, stated: await answer(page), asks: await page.isVisible("#stated") };
  },

  async offline() {
    const page = await opened();
    const before = await scored(page, given.files.strip);
    await page.waitForSelector("#offline:not([hidden])");
    await page.context().setOffline(true);
    await page.reload();
    await page.waitForSelector("#open:not([disabled])");
    return { before: before.logit, after: (await scored(page, given.files.strip)).logit };
  },

  async singleFile() {
    const page = await opened({ url: given.single, offline: true });
    const found = await scored(page, given.files.strip);
    await explained(page);
    return { ...found, bars: await page.locator("#bars li").count() };
  },

  async strap() {
    const page = await opened({ setup: mockStrap });
    await page.click("#strap");
    await page.waitForSelector("#recorded:not([hidden])");
    await page.waitForFunction(() => Number(/[0-9]+/.exec(document.querySelector("#status").textContent)?.[0]) >= 15);
    const dark = await inked(page);
    await page.click("#strap");
    await page.waitForSelector("#outcome .verdict");
    const control = await page.evaluate(() => globalThis.written);
    return { dark, control, facts: await page.innerText("#facts"), ...(await answer(page)) };
  },

  async keyboard() {
    const page = await opened();
    const reach = async (selector, key = "Tab") => {
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press(key);
        if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return true;
      }
      return false;
    };
    const reached = { sample: await reach("[data-sample]") };
    await page.keyboard.press("Enter");
    await page.waitForSelector("#recorded:not([hidden])");
    reached.age = await reach("#age");
    await page.keyboard.type("60");
    reached.paced = await reach("input[name=paced]");
    await page.keyboard.press("Space");
    await page.waitForSelector("#outcome .verdict");
    reached.trace = await reach("#trace");
    const label = () => page.getAttribute("#trace", "aria-label");
    await page.waitForFunction(() => document.querySelector("#trace").ariaLabel);
    const before = await label();
    await page.keyboard.press("ArrowRight");
    await page.waitForTimeout(200);
    const moved = await label();
    await page.keyboard.press("+");
    await page.waitForTimeout(200);
    const larger = await label();
    reached.explain = await reach("#explain");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#bars li");
    return { reached, before, moved, larger, spoken: await page.textContent("#spoken"), ...(await answer(page)) };
  },

  async contributions(page) {
    await scored(page, given.files.long);
    await page.click("#explain");
    await page.click("#cancel");
    await page.waitForSelector("#cancel", { state: "hidden" });
    const cancelled = { bars: await page.locator("#bars li").count(), status: await page.innerText("#status") };
    await explained(page);
    const rows = await page.locator("#bars li").evaluateAll((all) => all.map((row) => [row.firstChild.textContent, row.lastChild.textContent]));
    return { cancelled, rows, coloured: await inked(page, [184, 74, 0], [0, 90, 143]) };
  },

  async history(page) {
    await scored(page, given.files.strip);
    await page.click("#keep");
    await page.waitForSelector("#history tbody tr");
    await page.reload();
    await page.waitForSelector("#history tbody tr");
    const row = await page.innerText("#history tbody tr");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#history-export")]);
    const exported = JSON.parse(readFileSync(await download.path(), "utf8"));
    page.on("dialog", (dialog) => dialog.accept());
    await page.click("#history-erase");
    await page.waitForSelector("#history", { state: "hidden" });
    await page.reload();
    await page.waitForSelector("#open:not([disabled])");
    return { row, exported, left: await page.locator("#history tbody tr").count() };
  },

  async languages(page) {
    const found = {};
    await scored(page, given.files.strip);
    for (const language of ["de", "zh", "en"]) {
      await page.selectOption("#language", language);
      await page.waitForSelector(`html[lang=${language}]`);
      found[language] = { lang: await page.getAttribute("html", "lang"), ...(await answer(page)), all: await page.innerText("body") };
    }
    return found;
  },

  async printed(page) {
    await scored(page, given.files.long);
    await page.emulateMedia({ media: "print" });
    await page.waitForFunction(() => document.querySelector("#stamp").textContent);
    const rows = await page.locator("#paper canvas").evaluateAll((all) => all.map((row) => row.getBoundingClientRect().width));
    const pdf = await page.pdf({ path: `${given.out}/printed.pdf`, format: "A4", preferCSSPageSize: true });
    await page.screenshot({ path: `${given.out}/printed.png`, fullPage: true });
    const found = { rows, bytes: pdf.length, text: await page.innerText("body"), hidden: await page.isHidden("#open") };
    await page.emulateMedia({ media: null });
    return found;
  },

  async looks() {
    const found = {}, page = await opened();
    await looked(page, "-empty", found);
    await scored(page, given.files.long);
    await explained(page);
    await looked(page, "", found);
    return found;
  },

  async several() {
    const page = await opened({ url: given.several });
    const table = () => page.locator("#answers tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim())));
    const first = await scored(page, given.files.long), rows = await table();
    const told = { status: await page.innerText("#status"), caption: await page.innerText("#answers caption") };
    await explained(page);
    await page.focus("#answers :checked");
    const each = {};
    for (const [name] of rows) {
      const bars = await page.locator("#bars li").evaluateAll((all) => all.map((row) => row.lastChild.textContent));
      const focused = await page.evaluate(() => document.activeElement.closest("tr")?.cells[0].innerText.trim());
      each[name] = { ...(await answer(page)), bars, focused, spoken: await page.textContent("#spoken") };
      await page.keyboard.press("ArrowDown"); // after the last one comes the first
    }
    await page.click("#keep");
    await page.waitForSelector("#history tbody tr");
    const words = {}, looks = {}, history = await page.innerText("#history tbody tr");
    for (const language of ["de", "zh", "en"]) {
      await page.selectOption("#language", language);
      await page.waitForSelector(`html[lang=${language}]`);
      words[language] = await page.innerText("#answers");
    }
    await looked(page, "-several", looks);
    await page.emulateMedia({ media: "print", colorScheme: "light" });
    const printed = await page.innerText("#answer"), hidden = await page.isHidden("#answers input");
    await page.pdf({ path: `${given.out}/several.pdf`, format: "A4", preferCSSPageSize: true });
    await page.emulateMedia({ media: null });
    await page.fill("#age", "12");
    await page.waitForSelector("#answers", { state: "hidden" });
    return { first, rows, told, each, history, words, looks, printed, hidden, young: await answer(page) };
  },

  async manifest() {
    const page = await opened();
    const session = await page.context().newCDPSession(page);
    const { errors, data } = await session.send("Page.getAppManifest");
    const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
    return { errors, name: JSON.parse(data).name, installabilityErrors };
  },

  async tasks() {
    const page = await opened();
    await browser.startTracing(page, { categories: ["toplevel", "devtools.timeline"] });
    await scored(page, given.files.long);
    await explained(page);
    for (const key of ["ArrowRight", "+", "-", "-", "End"]) await page.press("#trace", key);
    const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
    const main = traceEvents.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain");
    const ofMain = ({ pid, tid }) => main.some((thread) => thread.pid === pid && thread.tid === tid);
    const tasks = traceEvents.filter((event) => /RunTask$/.test(event.name) && event.tdur && ofMain(event));
    return { count: tasks.length, longest: Math.max(...tasks.map(({ tdur }) => tdur)) / 1000 }; // ms of CPU, whatever else runs
  },
};

/** Waits until the trace has been drawn, which is done in a task of its own. */
function drawn(page) {
  return page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(done)))));
}

/** How many pixels of the trace are darker than any grid line or letter, or nearly of one of the colours given. */
async function inked(page, ...colours) {
  await drawn(page);
  return page.evaluate((wanted) => {
    const canvas = document.querySelector("#trace canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const counts = wanted.length ? wanted.map(() => 0) : [0];
    for (let i = 0; i < data.length; i += 4) {
      if (!wanted.length) counts[0] += data[i] + data[i + 1] + data[i + 2] < 200;
      wanted.forEach((colour, k) => (counts[k] += Math.abs(data[i] - colour[0]) + Math.abs(data[i + 1] - colour[1]) + Math.abs(data[i + 2] - colour[2]) < 30));
    }
    return counts;
  }, colours);
}

/** In the page: a Polar H10 that sends a frame of 73 samples every 20 ms, each of 73/130 s. */
function mockStrap() {
  globalThis.written = [];
  const data = new EventTarget();
  const frame = (n) => {
    const view = new DataView(new ArrayBuffer(10 + 3 * 73));
    view.setBigUint64(1, BigInt(Math.round((n * 73e9) / 130)), true);
    for (let i = 0; i < 73; i++) {
      const second = (n * 73 + i) / 130, beat = second % 0.8;
      const microvolt = Math.round(1000 * Math.exp(-(((beat - 0.3) / 0.012) ** 2)) + 250 * Math.exp(-(((beat - 0.55) / 0.05) ** 2)));
      for (let k = 0; k < 3; k++) view.setUint8(10 + 3 * i + k, (microvolt >> (8 * k)) & 255);
    }
    return view;
  };
  let timer = 0, count = 0;
  data.startNotifications = async () => data;
  const send = () => {
    data.value = frame(++count);
    data.dispatchEvent(new Event("characteristicvaluechanged"));
  };
  const control = new EventTarget();
  control.startNotifications = async () => control;
  control.writeValueWithResponse = control.writeValue = async (bytes) => {
    globalThis.written.push([...new Uint8Array(bytes.buffer ?? bytes)]);
    clearInterval(timer);
    if (globalThis.written.length === 1) timer = setInterval(send, 20);
  };
  const service = { getCharacteristic: async (id) => (String(id).startsWith("fb005c81") ? control : data) };
  const gatt = { connected: true, connect: async () => gatt, disconnect: () => clearInterval(timer), getPrimaryService: async () => service };
  const device = Object.assign(new EventTarget(), { name: "Polar H10", gatt });
  Object.defineProperty(navigator, "bluetooth", { value: { requestDevice: async () => device } });
}

let shared = null; // a page that checks without needs of their own use one after the other
for (const [name, check] of Object.entries(checks)) {
  if (given.only && !given.only.includes(name)) continue;
  const begun = Date.now();
  try {
    if (check.length) shared ??= await opened();
    seen[name] = await check(shared);
  } catch (error) {
    seen[name] = { failed: String(error.stack ?? error) };
    shared = null;
  }
  seen[name].seconds = (Date.now() - begun) / 1000;
  for (const context of browser.contexts()) if (context !== shared?.context()) await context.close();
}
await browser.close();
process.stdout.write(JSON.stringify({ ...seen, requests: [...requests], complaints }));
