/** Keeps every file of the page on the device: from the network where there is one, so that a new model is never
 * answered by an old one, and from the cache where there is none. The list is filled in when the page is built. */

const STAMP = "stethos-__STAMP__";
const FILES = ["__FILES__"];
const scope = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

scope.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(STAMP);
    await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
    await scope.skipWaiting();
  })());
});

scope.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith("stethos-") && name !== STAMP) await caches.delete(name);
    await scope.clients.claim();
  })());
});

scope.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== scope.location.origin) return;
  event.respondWith((async () => {
    try {
      return await fetch(event.request);
    } catch (error) {
      const kept = await (await caches.open(STAMP)).match(event.request, { ignoreSearch: true });
      if (kept) return kept;
      throw error;
    }
  })());
});
