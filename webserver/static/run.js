// @ts-check
/** How is one run's output followed? By its bytes: what is new is asked for by range. */

import { afterRefresh, follow, refresh } from "./live.js";
import { Screen } from "./screen.js";

const FIRST_BYTES = 1 << 20; // of long output only the end is fetched
const SEARCH_MS = 150;

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const { task = "", run = "" } = main.dataset;
const place = byId("output");
const screen = new Screen(place);
const decoder = new TextDecoder();
let stored = Number(byId("about").dataset.stored);
let have = Math.max(0, stored - FIRST_BYTES);
let fresh = true; // nothing was fetched yet: what is shown is the server's
let fetching = false;

/** @param {string} id @returns {HTMLElement} */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {string} id */
function input(id) {
  return /** @type {HTMLInputElement} */ (byId(id));
}

/** @param {import("./feed.js").Change[]} changes */
function hear(changes) {
  let mine = false;
  for (const { kind, data } of changes) {
    if (kind === "reset") mine = true;
    if ((kind !== "run" && kind !== "output") || data.id !== run) continue;
    mine ||= kind === "run";
    stored = Math.max(stored, data.output_stored);
  }
  if (mine) refresh();
  void fetchMore();
}

/** Up to all that is known to be stored. */
async function fetchMore() {
  if (fetching) return;
  fetching = true;
  while (have < stored && (await fetchPart()));
  fetching = false;
}

async function fetchPart() {
  let bytes;
  try {
    const url = `/api/v1/tasks/${task}/runs/${run}/output`;
    const response = await fetch(url, { headers: { Range: `bytes=${have}-` }, cache: "no-store" });
    if (response.status !== 206) return false;
    bytes = new Uint8Array(await response.arrayBuffer());
  } catch {
    return false; // the banner says why; the next change asks again
  }
  const more = bytes.length > 0;
  have += bytes.length;
  show(decoder.decode(fresh ? begin(bytes) : bytes, { stream: true }));
  return more;
}

/**
 * The first part takes the place of what the server had rendered; it begins with a whole line.
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
function begin(bytes) {
  fresh = false;
  place.replaceChildren();
  place.hidden = false;
  byId("silent").hidden = true;
  const before = have - bytes.length;
  const cut = before === 0 ? 0 : bytes.subarray(0, 4096).indexOf(10) + 1;
  leftOut(before + cut);
  return bytes.subarray(cut);
}

/** @param {string} text */
function show(text) {
  screen.write(text);
  if (screen.dropped) leftOut(-1);
  toEnd();
  if (input("search").value !== "") search();
}

/** Several times: blocks that come into view get their real height only then. */
function toEnd(frames = 3) {
  if (!input("follow").checked) return;
  place.scrollTop = place.scrollHeight;
  if (frames > 0) requestAnimationFrame(() => toEnd(frames - 1));
}

/** @param {number} count of bytes before what is shown; -1: not known */
function leftOut(count) {
  const hint = byId("left-out");
  hint.hidden = count === 0;
  hint.textContent = `${count > 0 ? `${count.toLocaleString("en")} bytes` : "Earlier lines"} before this are not shown; the download has them.`;
}

// ---- the tools

/** @type {Element[]} */
let hits = [];
let now = -1;

function search() {
  const wanted = input("search").value.toLowerCase();
  for (const line of hits) line.classList.remove("hit", "now");
  hits = wanted === "" ? [] : screen.all().filter((line) => line.textContent?.toLowerCase().includes(wanted));
  for (const line of hits) line.classList.add("hit");
  now = -1;
  byId("matches").textContent = wanted === "" ? "" : `${hits.length.toLocaleString("en")} line${hits.length === 1 ? "" : "s"}`;
}

/** @param {number} step */
function go(step) {
  if (hits.length === 0) return;
  hits[now]?.classList.remove("now");
  now = (now + step + hits.length) % hits.length;
  input("follow").checked = false;
  hits[now].classList.add("now");
  hits[now].scrollIntoView({ block: "center" });
  byId("matches").textContent = `${now + 1} of ${hits.length.toLocaleString("en")}`;
}

/** @type {number | undefined} */
let typing;
input("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, SEARCH_MS);
});
input("search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  if (hits.length === 0) search();
  go(event.shiftKey ? -1 : 1);
});
byId("next").addEventListener("click", () => go(1));
byId("previous").addEventListener("click", () => go(-1));
input("wrap").addEventListener("change", () => place.classList.toggle("unwrapped", !input("wrap").checked));
input("follow").addEventListener("change", () => toEnd());
// Whoever scrolls up wants to read, and whoever comes back to the end wants to follow.
place.addEventListener("wheel", stay, { passive: true });
place.addEventListener("touchmove", stay, { passive: true });
place.addEventListener("keydown", stay);
function stay() {
  requestAnimationFrame(() => {
    input("follow").checked = place.scrollHeight - place.scrollTop - place.clientHeight < 8;
  });
}

for (const tool of document.querySelectorAll(".only-live")) /** @type {HTMLElement} */ (tool).hidden = false;
afterRefresh(() => {
  stored = Math.max(stored, Number(byId("about").dataset.stored));
  void fetchMore();
});
void fetchMore();
follow(task, hear);
