/** The page's files: beside it, or within it where it is one file. */

/** By name; null where they lie beside the page. @type {Record<string, Blob> | null} */
export const inlined = globalThis.STETHOS_FILES ?? null;

/** The address of a file. @param {string} name */
export const where = (name) => (inlined ? URL.createObjectURL(inlined[name]) : new URL(name, document.baseURI).href);
