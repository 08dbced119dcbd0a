// @ts-check
/** How do ten thousand hosts scroll smoothly? Only rows in view are there; others are height. */

import { follow } from "./live.js";
import { element, stateElement } from "./signs.js";

const ROWS = 100; // fetched at once
const SPARE = 15; // rows above and below what is seen
const REFRESH_MS = 5000;
const TYPING_MS = 250;

const form = /** @type {HTMLFormElement} */ (document.querySelector("form.filters"));
const table = /** @type {HTMLTableElement | null} */ (document.getElementById("hosts"));

class Rows {
  /** @param {HTMLTableElement} table */
  constructor(table) {
    this.table = table;
    this.body = table.tBodies[0];
    this.total = Number(table.dataset.total);
    /** @type {Map<number, any[]>} pages of ROWS hosts by number */
    this.pages = new Map();
    /** @type {Set<number>} */
    this.asked = new Set();
    this.generation = 0; // what was asked before a filter changed is thrown away
    this.height = 34;
    table.classList.add("windowed");
    document.getElementById("more")?.remove();
    addEventListener("scroll", () => this.draw(), { passive: true });
    addEventListener("resize", () => this.draw());
  }

  /** Another filter: from the top, with the rows that come. */
  restart() {
    this.generation += 1;
    this.pages.clear();
    this.asked.clear();
    void this.fetch(0);
  }

  /** The rows that are in view anew; those out of view when they come into it. */
  renew() {
    const [first, last] = this.#span();
    for (const page of this.pages.keys()) {
      if (page < Math.floor(first / ROWS) || page > Math.floor(last / ROWS)) this.pages.delete(page);
    }
    for (let page = Math.floor(first / ROWS); page * ROWS <= last; page += 1) void this.fetch(page);
  }

  /** @param {number} page */
  async fetch(page) {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    const generation = this.generation;
    try {
      const asked = new URLSearchParams(chosen());
      asked.set("offset", String(page * ROWS));
      asked.set("limit", String(ROWS));
      asked.set("facts", "false");
      const response = await fetch(`/api/v1/agents?${asked}`, { cache: "no-store" });
      if (!response.ok || generation !== this.generation) return;
      const found = await response.json();
      this.pages.set(page, found.items);
      this.total = found.total ?? Math.max(this.total, page * ROWS + found.items.length);
      this.draw();
    } catch {
      // The banner says that the server is away.
    } finally {
      if (generation === this.generation) this.asked.delete(page);
    }
  }

  /** The first and the last row to draw, for where the page is scrolled to. */
  #span() {
    const top = -this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.height) - SPARE);
    const last = Math.ceil((top + innerHeight) / this.height) + SPARE;
    return [first, Math.min(this.total - 1, Math.max(last, first))];
  }

  draw() {
    const [first, last] = this.#span();
    const rows = [];
    for (let n = first; n <= last; n += 1) {
      const host = this.pages.get(Math.floor(n / ROWS))?.[n % ROWS];
      if (host === undefined && !this.pages.has(Math.floor(n / ROWS))) void this.fetch(Math.floor(n / ROWS));
      rows.push(host === undefined ? waiting(n) : row(host, n));
    }
    const focused = this.body.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
    this.body.replaceChildren(space(first * this.height), ...rows, space((this.total - 1 - last) * this.height));
    if (focused) /** @type {HTMLElement | null} */ (this.body.querySelector(`a[href="${CSS.escape(focused)}"]`))?.focus({ preventScroll: true });
    const real = rows.find((one) => !one.classList.contains("coming"));
    const height = real?.getBoundingClientRect().height ?? 0;
    if (height > 0 && Math.abs(height - this.height) > 0.5) {
      this.height = height;
      this.draw();
    }
    this.#tell();
  }

  #tell() {
    this.table.setAttribute("aria-rowcount", String(this.total + 1));
    this.table.hidden = this.total === 0;
    const none = document.getElementById("none");
    if (none !== null) none.hidden = this.total > 0;
    const shown = document.getElementById("total");
    if (shown !== null) shown.textContent = this.total.toLocaleString("en");
  }
}

/** @param {any} host @param {number} n */
function row(host, n) {
  const made = element("tr");
  made.setAttribute("aria-rowindex", String(n + 2));
  const state = element("td");
  state.append(stateElement(host.state));
  if (host.standing !== "enrolled") state.append(" ", element("strong", "bad", host.standing));
  const name = element("td", "name");
  const link = /** @type {HTMLAnchorElement} */ (element("a", "", host.hostname));
  link.href = `/hosts/${host.id}`;
  name.append(link);
  if (host.claimed_hostname) name.append(" ", element("strong", "bad", `now ${host.claimed_hostname}`));
  const labels = element("td", "labels");
  for (const [key, value] of Object.entries(host.labels).sort()) labels.append(element("span", "label", `${key}:${value}`), " ");
  made.append(
    state,
    name,
    element("td", "ip", host.ip.join(", ")),
    labels,
    cell("number", "running", `${host.busy}/${host.slots}`),
    cell("time", "seen", host.last_seen?.slice(0, 19).replace("T", " ") ?? "–"),
    cell("", "version", host.version),
    cell("number", "clock", skewed(host.clock_skew)),
  );
  return made;
}

/** @param {number | null} skew */
function skewed(skew) {
  if (skew === null) return "–";
  return Math.abs(skew) < 0.05 ? "0 s" : `${skew < 0 ? "" : "+"}${skew.toFixed(1)} s`;
}

/** @param {string} name @param {string} label @param {string} text */
function cell(name, label, text) {
  const made = element("td", name, text);
  made.dataset.label = label;
  return made;
}

/** A row whose host is not there yet. @param {number} n */
function waiting(n) {
  const made = element("tr", "coming");
  made.setAttribute("aria-rowindex", String(n + 2));
  const only = /** @type {HTMLTableCellElement} */ (element("td", "hint", "…"));
  only.colSpan = 8;
  made.append(only);
  return made;
}

/** @param {number} height */
function space(height) {
  const made = element("tr", "space");
  made.setAttribute("aria-hidden", "true");
  const only = /** @type {HTMLTableCellElement} */ (element("td"));
  only.colSpan = 8;
  only.style.height = `${Math.max(0, height)}px`;
  made.append(only);
  return made;
}

/** What the form asks for, without what is empty. */
function chosen() {
  const given = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && value.trim() !== "") given.set(name, value.trim());
  }
  return given;
}

/** A heading sorts what is shown now. @param {HTMLAnchorElement} heading */
function keepFilter(heading) {
  const query = chosen();
  query.set("sort", new URL(heading.href).searchParams.get("sort") ?? "hostname");
  heading.search = String(query);
}

if (table !== null && table.dataset.total !== undefined) {
  const rows = new Rows(table);
  /** @type {number | undefined} */
  let typing;
  const filter = () => {
    const query = chosen().toString();
    history.replaceState(null, "", query === "" ? "/hosts" : `/hosts?${query}`);
    for (const heading of table.querySelectorAll("th a")) keepFilter(/** @type {HTMLAnchorElement} */ (heading));
    rows.restart();
  };
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filter, TYPING_MS);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    filter();
  });
  rows.restart();
  setInterval(() => document.hidden || rows.renew(), REFRESH_MS);
}
follow("", () => {});
