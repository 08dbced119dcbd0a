// @ts-check
/**
 * How do ten thousand hosts fit a page? Each as a small sign, drawn on one canvas. By mouse,
 * touch or arrow keys one asks for a cell; its twin for screen readers is the table below.
 */

import { SIGNS, STATES, element, word } from "./signs.js";

const CELL = { most: 24, least: 10, roomy: 420 }; // px; the grid takes about `roomy` of height
const SOLID = new Set(["FAILED", "TIMEOUT", "UNKNOWN"]); // what one looks for is filled
const COLOUR = {
  SUCCEED: "--good", FAILED: "--bad", TIMEOUT: "--bad", UNKNOWN: "--warn", RUNNING: "--accent",
};
const AT_ONCE = 10_000;

export class Grid {
  /** @param {HTMLElement} place @param {string} task */
  constructor(place, task) {
    this.task = task;
    /** @type {string[]} */ this.runs = [];
    /** @type {string[]} */ this.hosts = [];
    /** @type {string[]} */ this.states = [];
    /** @type {Map<string, number>} */ this.index = new Map();
    this.at = -1; // the cell that is asked for
    this.canvas = /** @type {HTMLCanvasElement} */ (element("canvas", "drawn"));
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.told = element("p", "told hint", "Point at a cell, or use the arrow keys; Enter opens the run.");
    this.told.setAttribute("role", "status");
    const roll = element("div", "roll");
    roll.append(this.canvas);
    place.append(this.told, roll);
    place.hidden = false;
    this.#listen();
  }

  /** Fetch all cells anew. */
  async load() {
    const found = { runs: [], hosts: [], states: "" };
    for (let total = 1; found.runs.length < total; ) {
      const url = `/api/v1/tasks/${this.task}/grid?offset=${found.runs.length}&limit=${AT_ONCE}`;
      const response = await fetch(url, { cache: "no-store" });
      if (!response.ok) return;
      const part = await response.json();
      if (part.runs.length === 0) break;
      found.runs = found.runs.concat(part.runs.map((/** @type {string} */ run) => part.prefix + run));
      found.hosts = found.hosts.concat(part.hosts);
      found.states += part.states;
      total = part.total;
    }
    this.runs = found.runs;
    this.hosts = found.hosts;
    this.states = [...found.states].map((letter) => STATES[letter]);
    this.index = new Map(this.runs.map((run, n) => [run, n]));
    this.draw();
  }

  /** @param {string} run @param {string} state */
  set(run, state) {
    const n = this.index.get(run);
    if (n === undefined || this.states[n] === state) return;
    this.states[n] = state;
    if (this.signs !== undefined) this.#drawCell(n);
  }

  /** All of it, for the width that there is now. */
  draw() {
    const width = this.canvas.parentElement?.clientWidth ?? 0;
    if (width === 0 || this.states.length === 0) return;
    const fitting = Math.sqrt((width * CELL.roomy) / this.states.length);
    this.size = Math.max(CELL.least, Math.min(CELL.most, Math.floor(fitting)));
    this.across = Math.max(1, Math.floor(width / this.size));
    const height = Math.ceil(this.states.length / this.across) * this.size;
    const scale = devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    this.canvas.style.height = `${height}px`;
    this.signs = drawnSigns(this.size, scale);
    for (let n = 0; n < this.states.length; n += 1) this.#drawCell(n);
    this.#label();
  }

  /** @param {number} n */
  #drawCell(n) {
    const [size, scale] = [this.size ?? 1, devicePixelRatio || 1];
    const [x, y] = [(n % (this.across ?? 1)) * size * scale, Math.floor(n / (this.across ?? 1)) * size * scale];
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.clearRect(x, y, size * scale, size * scale);
    const sign = this.signs?.get(this.states[n]);
    if (sign) context.drawImage(sign, x, y);
    if (n !== this.at) return;
    context.strokeStyle = colour("--text");
    context.lineWidth = 2 * scale;
    context.strokeRect(x + scale, y + scale, (size - 2) * scale, (size - 2) * scale);
  }

  #label() {
    /** @type {Record<string, number>} */
    const counts = {};
    for (const state of this.states) counts[state] = (counts[state] ?? 0) + 1;
    const words = Object.entries(counts).map(([state, count]) => `${count} ${word(state)}`);
    this.canvas.setAttribute("aria-label", `${this.states.length} hosts: ${words.join(", ")}`);
  }

  #listen() {
    this.canvas.addEventListener("pointermove", (event) => this.#ask(this.#under(event)));
    this.canvas.addEventListener("click", (event) => this.#open(this.#under(event)));
    this.canvas.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.draw()).observe(/** @type {Element} */ (this.canvas.parentElement));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const across = this.across ?? 1;
    const last = this.states.length - 1;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -last, End: last };
    const step = /** @type {Record<string, number>} */ (steps)[event.key];
    if (event.key === "Enter") this.#open(this.at);
    if (step === undefined) return;
    event.preventDefault();
    this.#ask(this.at < 0 ? 0 : Math.max(0, Math.min(last, this.at + step)));
  }

  /** @param {MouseEvent} event */
  #under(event) {
    const [size, across] = [this.size ?? 1, this.across ?? 1];
    const column = Math.floor(event.offsetX / size);
    return column < across ? Math.floor(event.offsetY / size) * across + column : -1;
  }

  /** Say what a cell is. @param {number} n */
  #ask(n) {
    if (n === this.at || n < 0 || n >= this.states.length) return;
    const before = this.at;
    this.at = n;
    if (before >= 0) this.#drawCell(before);
    this.#drawCell(n);
    this.#reveal(n);
    this.told.textContent = `${SIGNS[this.states[n]]} ${this.hosts[n]}: ${word(this.states[n])}`;
  }

  /** Scroll to a cell that is out of sight. @param {number} n */
  #reveal(n) {
    const [roll, size] = [/** @type {HTMLElement} */ (this.canvas.parentElement), this.size ?? 1];
    const top = Math.floor(n / (this.across ?? 1)) * size;
    if (top < roll.scrollTop) roll.scrollTop = top;
    else if (top + size > roll.scrollTop + roll.clientHeight) roll.scrollTop = top + size - roll.clientHeight;
  }

  /** @param {number} n */
  #open(n) {
    if (this.runs[n] !== undefined) location.href = `/tasks/${this.task}/runs/${this.runs[n]}`;
  }
}

/**
 * Each state once, to be copied into its cells.
 * @param {number} size @param {number} scale @returns {Map<string, HTMLCanvasElement>}
 */
function drawnSigns(size, scale) {
  const drawn = new Map();
  for (const state of Object.values(STATES)) {
    const sign = document.createElement("canvas");
    sign.width = sign.height = size * scale;
    const context = /** @type {CanvasRenderingContext2D} */ (sign.getContext("2d"));
    const paint = colour(/** @type {Record<string, string>} */ (COLOUR)[state] ?? "--faint");
    context.scale(scale, scale);
    context.fillStyle = SOLID.has(state) ? paint : colour("--card");
    context.fillRect(0.5, 0.5, size - 1, size - 1);
    context.fillStyle = SOLID.has(state) ? colour("--card") : paint;
    context.font = `700 ${Math.round(size * 0.75)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(SIGNS[state], size / 2, size / 2 + size * 0.04);
    drawn.set(state, sign);
  }
  return drawn;
}

/** @param {string} name */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
