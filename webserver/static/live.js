// @ts-check
/**
 * How does a page stay as true as on the day it was loaded? It is told of changes, and takes
 * over what differs in a new version of itself; and it says when the master is away.
 */

import { Audience } from "./audience.js";
import { morph } from "./morph.js";

const LEAST_MS = 1000; // between two looks at the page, or
const SHARE = 4; // so many times what the last look took, whichever is longer
const HOSTS_MS = 5000; // hosts have no events

const WORDS = {
  up: "",
  away: "The master is away. What you see is from before; scripts that run go on. It comes back by itself.",
  cut: "The web server cannot be reached. What you see is from before; trying again.",
  login: "You are logged out. Reload the page to log in again.",
};

const main = /** @type {HTMLElement} */ (document.getElementById("main"));

/**
 * Hear of changes, with one connection for all tabs where the browser has workers that tabs
 * share. Ends and begins with the page, also when it comes back from the history. A page of plans
 * hears of them instead.
 * @param {string} task "" for all tasks, without their runs
 * @param {(changes: import("./feed.js").Change[]) => void} onChanges
 */
export function follow(task, onChanges) {
  const { plan, since = "" } = main.dataset;
  const wish = { task, plan, since };
  /** @param {import("./audience.js").News} news */
  const hear = ({ link, changes }) => {
    if (link) showLink(link);
    if (changes) onChanges(changes);
  };
  const { join, leave } = "SharedWorker" in window ? shared(hear) : alone(hear);
  join(wish);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => {
    if (event.persisted) join({ task, plan, since: "" });
  });
}

/** @param {(news: import("./audience.js").News) => void} hear */
function shared(hear) {
  const worker = new SharedWorker(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.port.onmessage = ({ data }) => hear(data);
  return {
    join: (/** @type {object} */ wish) => worker.port.postMessage(wish),
    leave: () => worker.port.postMessage("leave"),
  };
}

/** @param {(news: import("./audience.js").News) => void} hear */
function alone(hear) {
  const audience = new Audience();
  return {
    join: (/** @type {import("./audience.js").Wish} */ wish) => audience.join(hear, wish),
    leave: () => audience.leave(hear),
  };
}

let wasAway = false;

/** @param {import("./feed.js").Link} link */
function showLink(link) {
  const banner = /** @type {HTMLElement} */ (document.getElementById("link"));
  banner.textContent = WORDS[link];
  banner.hidden = link === "up";
  if (link === "up" && wasAway) refresh();
  wasAway = link !== "up";
}

let underWay = false;
let wanted = false;
/** @type {(() => void)[]} */
const refreshed = [];

/** What to do each time after the page has taken over a new version of itself. */
export function afterRefresh(/** @type {() => void} */ then) {
  refreshed.push(then);
}

/** Look at the page anew: now, or when the one that is under way is over. */
export function refresh() {
  wanted = true;
  if (!underWay && !document.hidden) void look();
}

document.addEventListener("visibilitychange", () => {
  if (wanted) refresh();
});

async function look() {
  underWay = true;
  while (wanted && !document.hidden) {
    wanted = false;
    const started = performance.now();
    await takeOver();
    const took = performance.now() - started;
    await new Promise((resolve) => setTimeout(resolve, Math.max(LEAST_MS, took * SHARE)));
  }
  underWay = false;
}

async function takeOver() {
  let text;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (response.redirected && new URL(response.url).pathname === "/login") location.reload();
    if (!response.ok) return;
    text = await response.text();
  } catch {
    return; // the banner says so
  }
  const fresh = new DOMParser().parseFromString(text, "text/html");
  document.title = fresh.title;
  for (const part of document.querySelectorAll("[data-morph]")) {
    const newer = fresh.getElementById(part.id);
    if (newer !== null) morph(part, newer);
  }
  for (const then of refreshed) then();
}

/** Count the seconds of what is under way. */
function tick() {
  for (const shown of document.querySelectorAll("[data-from]")) {
    const from = Date.parse(shown.getAttribute("data-from") ?? "");
    shown.textContent = spell(Math.max(0, Math.round((Date.now() - from) / 1000)));
  }
}

/** As the server spells durations. */
function spell(/** @type {number} */ seconds) {
  const parts = [];
  /** @type {[string, number][]} */
  const units = [["day", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  for (const [name, size] of units) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0) parts.push(`${count} ${name}${name === "day" && count > 1 ? "s" : ""}`);
    else if (parts.length > 0) break;
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

setInterval(tick, 1000);
if (main.dataset.live === "tasks" || main.dataset.live === "plans") follow("", refresh);
if (main.dataset.live === "queue") follow(main.dataset.task ?? "", refresh);
if (main.dataset.live === "host") {
  follow("", () => {});
  setInterval(refresh, HOSTS_MS);
}
