/** Drives the page of a detector in Chromium, with a file in place of a microphone; prints what it saw as JSON.
 *
 * node sound.mjs GIVEN.json, with {url, single, file, capture, out, chromium}; single is the page as one file.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const args = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream", `--use-file-for-fake-audio-capture=${given.capture}`,
];
const executablePath = given.chromium || (await (await import("@sparticuz/chromium")).default.executablePath());
const browser = await chromium.launch({ executablePath, args });
const context = await browser.newContext({ locale: "en-GB", permissions: ["microphone"], viewport: { width: 1100, height: 1200 } });
const requests = new Set(), complaints = [], seen = {};
context.on("request", (request) => requests.add(request.url()));
const page = await context.newPage();
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
page.on("pageerror", (error) => complaints.push(String(error)));
await page.goto(given.url, { waitUntil: "commit" });
await page.waitForSelector("#open:not([disabled])", { timeout: 60000 });

const said = () => page.innerText("#outcome");
const score = async () => Number(await page.getAttribute("#outcome", "data-score"));
await page.setInputFiles("#file", given.file);
await page.waitForFunction(() => document.querySelector("#outcome").textContent);
seen.before = await said();
await page.check("#allow");
seen.file = { text: await said(), score: await score() };
await page.selectOption("#machine", { index: 1 });
await page.waitForFunction((before) => document.querySelector("#outcome").textContent !== before, seen.file.text);
seen.other = { text: await said(), score: await score() };
await page.screenshot({ path: `${given.out}/sound-file.png` });
await page.click("#listen");
await page.waitForFunction(() => document.querySelector("#outcome").textContent.startsWith("ALARM"), null, { timeout: 60000 });
seen.live = { text: await said(), score: await score(), status: await page.innerText("#status") };
seen.painted = await page.evaluate(() => {
  const canvas = document.querySelector("#spectrogram");
  const { data } = canvas.getContext("2d").getImageData(canvas.width - 20, 0, 20, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
});
await page.screenshot({ path: `${given.out}/sound-live.png` });
await page.click("#listen");
await page.waitForFunction(() => !document.querySelector("#status").textContent);
await page.evaluate(axe);
seen.serious = await page.evaluate(async () => {
  const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
  return violations.filter(({ impact }) => impact === "serious" || impact === "critical").map(({ id }) => id);
});
await page.setViewportSize({ width: 360, height: 740 });
seen.width = await page.evaluate(() => document.documentElement.scrollWidth);
const alone = await context.newPage();
alone.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
alone.on("pageerror", (error) => complaints.push(String(error)));
await alone.goto(given.single, { waitUntil: "commit" });
await alone.waitForSelector("#open:not([disabled])", { timeout: 60000 });
await alone.check("#allow");
await alone.setInputFiles("#file", given.file);
await alone.waitForFunction(() => document.querySelector("#outcome").dataset.score);
seen.single = { text: await alone.innerText("#outcome"), score: Number(await alone.getAttribute("#outcome", "data-score")) };
await alone.selectOption("#machine", { index: 1 });
await alone.click("#listen");
await alone.waitForFunction(() => document.querySelector("#outcome").textContent.startsWith("ALARM"), null, { timeout: 60000 });
await alone.click("#listen");
await browser.close();
process.stdout.write(JSON.stringify({ ...seen, requests: [...requests], complaints }));
