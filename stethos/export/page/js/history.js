/** Answers that were kept, in this browser's own database and nowhere else. */

const NAME = "stethos", STORE = "answers";

/** @returns {Promise<IDBDatabase>} */
function database() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>} */
async function through(mode, work) {
  const held = await database();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = held.transaction(STORE, mode), request = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    held.close();
  }
}

/** Keeps one answer. @param {import("./types.d.ts").Kept} answer */
export const keep = (answer) => through("readwrite", (store) => store.add(answer));

/** All kept answers, the newest first. @returns {Promise<import("./types.d.ts").Kept[]>} */
export const kept = async () => (await through("readonly", (store) => store.getAll())).reverse();

/** Erases all of them. */
export const erase = () => through("readwrite", (store) => store.clear());

/** Hands all of them to the person as a JSON file. */
export async function exportAll() {
  const href = URL.createObjectURL(new Blob([JSON.stringify(await kept(), null, 2)], { type: "application/json" }));
  const link = Object.assign(document.createElement("a"), { href, download: "stethos-answers.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
