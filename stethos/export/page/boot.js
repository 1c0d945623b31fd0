/* Starts the page where it is one file: every part becomes a blob, modules after those they import. The worker makes
 * its own from the same texts: on a disk, where a page has no origin, it may not open those of the page. */
(async () => {
  /** @type {Record<string, Blob>} */
  const files = {};
  /** @type {[string, string][]} */
  const modules = [];
  globalThis.STETHOS_FILES = files;
  /** @param {[string, string][]} modules @param {Record<string, string>} files Their addresses; are added to it. */
  const linked = (modules, files) => {
    for (const [name, text] of modules) {
      const body = text.replace(/@@([^@]+)@@/g, (/** @type {string} */ _, /** @type {string} */ other) => files[other]);
      files[name] = URL.createObjectURL(new Blob([body], { type: "text/javascript" }));
    }
    return files;
  };
  const { dataset: first, textContent } = /** @type {HTMLElement} */ (document.getElementById("parts"));
  for (const { name, type, base64 } of JSON.parse(textContent ?? "")) {
    files[name] = await (await fetch(`data:${type};base64,${base64}`)).blob();
    if (type === "text/javascript") modules.push([name, await files[name].text()]);
  }
  const early = "const early = []; self.onmessage = (event) => early.push(event);";
  const start = `import((${linked})(${JSON.stringify(modules)}, {})[${JSON.stringify(first.worker)}]).then(() => early.forEach(self.onmessage));`;
  files[String(first.worker)] = new Blob([early, start], { type: "text/javascript" });
  await import(linked(modules, {})[String(first.page)]);
})();
