// @ts-check
/** How does the page of a task follow it? Counts and cells at once, results as they settle. */

import { Grid } from "./grid.js";
import { follow, refresh } from "./live.js";
import { STATES, element, signElement, stateElement, word } from "./signs.js";

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const task = main.dataset.task ?? "";
const place = document.getElementById("drawn");
const grid = place === null ? null : new Grid(place, task);
const cells = new Map([...document.querySelectorAll("#cells a")].map((cell) => [cell.getAttribute("data-run"), cell]));

/** @param {import("./feed.js").Change[]} changes */
function hear(changes) {
  for (const { kind, data } of changes) {
    if (kind === "task") showTask(data);
    else if (kind === "run") showRun(data.id, data.state);
    else if (kind === "reset" || kind === "moved") reload();
  }
  refresh();
}

/** Only what is seen at a glance; the rest comes with the next version of the page. @param {any} view */
function showTask(view) {
  const ended = Object.entries(view.counts)
    .filter(([state]) => state !== "WAITING" && state !== "RUNNING")
    .reduce((sum, [, count]) => sum + Number(count), 0);
  const bar = /** @type {HTMLProgressElement} */ (document.getElementById("done"));
  bar.value = ended;
  text("done-words", `${ended.toLocaleString("en")} of ${view.total.toLocaleString("en")} host${view.total === 1 ? "" : "s"} done`);
  text("reason", view.reason);
  document.getElementById("state")?.replaceChildren(stateElement(view.state));
  for (const shown of document.querySelectorAll("[data-count]")) {
    const count = view.counts[shown.getAttribute("data-count") ?? ""] ?? 0;
    shown.textContent = count.toLocaleString("en");
  }
}

/** @param {string} id @param {string} words */
function text(id, words) {
  const place = document.getElementById(id);
  if (place !== null && place.textContent !== words) place.textContent = words;
}

/** @param {string} run @param {string} state */
function showRun(run, state) {
  grid?.set(run, state);
  const cell = cells.get(run);
  if (cell === undefined || cell.classList.contains(state.toLowerCase())) return;
  cell.className = `cell ${state.toLowerCase()}`;
  cell.firstElementChild?.replaceWith(signElement(state));
  cell.lastElementChild?.replaceWith(element("span", "away", ` ${word(state)}`));
}

/** After a gap: every cell may be another. */
async function reload() {
  if (grid !== null) return grid.load();
  const response = await fetch(`/api/v1/tasks/${task}/grid`, { cache: "no-store" });
  if (!response.ok) return;
  const found = await response.json();
  found.runs.forEach((/** @type {string} */ run, /** @type {number} */ n) => {
    showRun(found.prefix + run, STATES[found.states[n]]);
  });
}

void grid?.load();
follow(task, hear);
