// What the page asks of the service. Addresses are relative, so that the service may lie behind a proxy's path.

import { byId } from "./dom.js";

const KEY = "marrowscope-api-key";
const PATIENCE = 20;

/** A request that the service refused: RFC 9457's title and detail, in words for a person. */
export class Problem extends Error {
  constructor(status, title, detail, requestId) {
    super(detail);
    Object.assign(this, { status, title, requestId });
  }
}

/** The key for the service, kept for as long as this tab is open. */
export function watchKey() {
  const field = byId("key");
  field.value = sessionStorage.getItem(KEY) ?? "";
  byId("key-field").hidden = !field.value;
  field.addEventListener("change", () => sessionStorage.setItem(KEY, field.value));
}

/** Fetch, waiting where the service is busy and says for how long: that often at most. */
export async function ask(path, options = {}, patience = PATIENCE) {
  for (let waited = 0; ; waited++) {
    const response = await attempt(path, options);
    if (response.ok) return response;
    const problem = await problemOf(response);
    const wait = Number(response.headers.get("Retry-After"));
    if (response.status === 503 && wait > 0 && options.method === "POST" && waited < patience) {
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
      continue;
    }
    if (response.status === 401) {
      byId("key-field").hidden = false;
      byId("key").focus();
    }
    throw problem;
  }
}

async function attempt(path, options) {
  const key = byId("key").value;
  try {
    return await fetch(path, { ...options, headers: { ...(options.headers ?? {}), ...(key && { "X-API-Key": key }) } });
  } catch {
    throw new Problem(0, "No answer", "The service cannot be reached. Is it still running?", null);
  }
}

async function problemOf(response) {
  try {
    const { title, detail, request_id: id } = await response.json();
    return new Problem(response.status, title, detail, id);
  } catch {
    return new Problem(response.status, response.statusText, `The service answered ${response.status}.`, null);
  }
}

/** Post a tile; the answer is JSON, or a blob of another format. */
export async function analyse(file, { mpp, bundle }, format = "json") {
  const body = new FormData();
  body.append("tile", file, file.name);
  const query = new URLSearchParams({ format, ...(mpp && { mpp }), ...(bundle && { bundle }) });
  const response = await ask(`analyze?${query}`, { method: "POST", body });
  return format === "json" ? response.json() : response.blob();
}

/** The bundles, and whether the service runs batches. */
export const bundles = async () => (await ask("bundles")).json();
export const bundleCard = async (name) => (await ask(`bundles/${encodeURIComponent(name)}`)).json();

/** The synthetic tile that comes with a bundle, as a file that could have been chosen. */
export async function sampleTile(name) {
  const response = await ask(`bundles/${encodeURIComponent(name)}/sample`);
  return new File([await response.blob()], "synthetic-sample.png", { type: "image/png" });
}

/** A PNG grid of n prototypes of a cluster. */
export async function prototypes(bundle, cluster, n, seed) {
  const query = new URLSearchParams({ bundle, n, seed, format: "png" });
  return (await ask(`prototypes/${cluster}?${query}`)).blob();
}

/** Batches, the newest first, and whether they may name a path; those older than `after`. */
export const batches = async (after) => (await ask(`batches${after ? `?after=${after}` : ""}`)).json();
export const batch = async (id) => (await ask(`batches/${id}`)).json();
export const cancelBatch = async (id) => (await ask(`batches/${id}`, { method: "DELETE" })).json();

/** Start a batch: `form` is what POST /batches takes. It may be large, and is not sent twice by itself. */
export const startBatch = async (form) => (await ask("batches", { method: "POST", body: form }, 0)).json();

/** A file of results; the service names it from its root. */
export const resultAddress = (url) => url.replace(/^\//, "");
export const resultFile = async (url) => (await ask(resultAddress(url))).blob();
export const hasKey = () => byId("key").value !== "";
