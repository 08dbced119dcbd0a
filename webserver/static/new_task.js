// @ts-check
/**
 * How does the form say what it would do? The server is asked while one types, and its words
 * take their place on the button; nothing is submitted that was not shown.
 */

import { edit } from "./editor.js";
import { morph } from "./morph.js";
import { element, stateElement } from "./signs.js";

const TYPING_MS = 250;
const FOUND = 200;

const form = /** @type {HTMLFormElement} */ (document.getElementById("new-task"));
// None where a saved script stands in place of the editor.
const script = /** @type {HTMLTextAreaElement | null} */ (document.getElementById("script"));
const targets = /** @type {HTMLInputElement} */ (document.getElementById("targets"));

// ---- what will happen

let asked = 0; // how often something was changed that matters
let shown = 0; // up to which change the words are true
/** @type {number | undefined} */
let typing;

function changed() {
  asked += 1;
  clearTimeout(typing);
  typing = setTimeout(preview, TYPING_MS);
}

async function preview() {
  clearTimeout(typing);
  const now = asked;
  const fields = new FormData(form);
  fields.delete("script"); // it may be long, and nothing depends on it
  for (const name of [...fields.keys()]) {
    if (name.startsWith("parameter.")) fields.delete(name); // nor on these, some of them secret
  }
  fields.delete("secret"); // values go out with the submit alone
  fields.delete("secret_file");
  countItems(fields);
  let text;
  try {
    const body = new URLSearchParams(/** @type {any} */ (fields));
    const url = `${form.getAttribute("action")}/preview`;
    const response = await fetch(url, { method: "POST", body, cache: "no-store" });
    if (response.redirected) location.reload();
    if (!response.ok) return;
    text = await response.text();
  } catch {
    return; // the button goes on saying what was true before, and a submit asks again
  }
  if (now !== asked) return;
  shown = now;
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("preview");
  const place = document.getElementById("preview");
  if (fresh !== null && place !== null) morph(place, fresh);
  const digest = /** @type {HTMLInputElement} */ (form.elements.namedItem("expect"));
  digest.value = fresh?.querySelector("input")?.value ?? "";
}

/** In place of items: how many, and the name of their file. @param {FormData} fields */
function countItems(fields) {
  const items = fields.get("items");
  if (typeof items === "string") {
    const lines = items.split("\n").filter((line) => line.trim() !== "");
    fields.set("count", String(lines.length));
    fields.delete("items");
  }
  const file = fields.get("file");
  if (file instanceof File) fields.set("file_name", file.name);
  fields.delete("file");
}

form.addEventListener("input", (event) => {
  const field = /** @type {Element} */ (event.target);
  if (field !== script && field.id !== "find" && !field.closest("#secrets, #saved-script")) changed();
});
form.addEventListener("change", (event) => {
  if (event.target === targets && asked !== shown) void preview();
});
form.addEventListener("submit", (event) => {
  const button = /** @type {HTMLButtonElement | null} */ (event.submitter);
  if (button?.value !== "preview" && asked === shown) return;
  event.preventDefault(); // first see what it would do
  void (button?.value === "preview" ? preview() : confirmed(button));
});

/**
 * Pressed before the server had said what it would do: if that is what stood there, it counts.
 * @param {HTMLButtonElement | null} button
 */
async function confirmed(button) {
  const before = promise(button);
  await preview();
  if (button?.isConnected && asked === shown && promise(button) === before) form.requestSubmit(button);
}

/** @param {HTMLButtonElement | null} button */
function promise(button) {
  const digest = /** @type {HTMLInputElement} */ (form.elements.namedItem("expect"));
  return `${button?.textContent?.trim()} ${digest.value}`;
}

// ---- ticks

const find = /** @type {HTMLInputElement | null} */ (document.getElementById("find"));
const body = form.querySelector(".pick tbody");
/** @type {Map<string, string>} ids that are ticked → hostnames */
const ticked = new Map();

/** @param {HTMLInputElement} box */
function note(box) {
  if (box.checked) ticked.set(box.value, box.parentElement?.textContent?.trim() ?? box.value);
  else ticked.delete(box.value);
}

function boxes() {
  return /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll("input[name=agent]"));
}

function tell() {
  const place = document.getElementById("ticked");
  if (place !== null) place.textContent = ticked.size === 0 ? "" : `${ticked.size.toLocaleString("en")} ticked`;
}

/** @param {boolean} on */
function tickAll(on) {
  for (const box of boxes()) {
    box.checked = on;
    note(box);
  }
  if (!on) ticked.clear();
  tell();
  changed();
}

/** Hosts that fit, after those that are ticked: what will be sent is always in sight. */
async function look() {
  const wanted = find?.value.trim() ?? "";
  const query = new URLSearchParams({ limit: String(FOUND), facts: "false" });
  if (wanted !== "") query.set(wanted.includes(":") && !wanted.includes("::") ? "label" : "text", wanted);
  let found;
  try {
    const response = await fetch(`/api/v1/agents?${query}`, { cache: "no-store" });
    if (!response.ok) return;
    found = (await response.json()).items;
  } catch {
    return;
  }
  if (wanted !== (find?.value.trim() ?? "")) return;
  const there = new Set(found.map((/** @type {any} */ host) => host.id));
  const kept = [...boxes()].filter((box) => box.checked && !there.has(box.value)).map((box) => box.closest("tr"));
  body?.replaceChildren(...kept.filter((one) => one !== null), ...found.map(row));
}

/** @param {any} host */
function row(host) {
  const made = element("tr");
  const label = element("label", "tick");
  const box = /** @type {HTMLInputElement} */ (element("input"));
  box.type = "checkbox";
  box.name = "agent";
  box.value = host.id;
  box.checked = ticked.has(host.id);
  label.append(box, ` ${host.hostname}`);
  const name = element("td");
  name.append(label);
  const state = element("td");
  state.append(stateElement(host.state));
  const labels = element("td");
  for (const [key, value] of Object.entries(host.labels).sort()) labels.append(element("span", "label", `${key}:${value}`), " ");
  made.append(name, state, element("td", "", host.ip.join(", ")), labels, element("td", "number", `${host.busy}/${host.slots}`));
  return made;
}

form.addEventListener("change", (event) => {
  const box = /** @type {HTMLInputElement} */ (event.target);
  if (box.name !== "agent") return;
  note(box);
  tell();
});
/** @type {number | undefined} */
let finding;
find?.addEventListener("input", () => {
  clearTimeout(finding);
  finding = setTimeout(look, TYPING_MS);
});
find?.addEventListener("keydown", (event) => {
  if (event.key === "Enter") event.preventDefault(); // it searches, and never submits
});
document.getElementById("tick-all")?.addEventListener("click", () => tickAll(true));
document.getElementById("tick-none")?.addEventListener("click", () => tickAll(false));

// ---- at the start

if (script) edit(script);
for (const hidden of form.querySelectorAll(".pick-tools, #tab-hint, #find-more")) /** @type {HTMLElement} */ (hidden).hidden = false;
for (const box of boxes()) note(box);
tell();
if (targets.value !== "" || ticked.size > 0) changed();
