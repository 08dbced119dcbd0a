// @ts-check
/** How does the form of a schedule say when it would fire? The server is asked while one types. */

import { morph } from "./morph.js";

const TYPING_MS = 250;
const WHEN = ["kind", "zone", "cron", "every", "anchor", "at", "splay", "start", "end"];

const form = /** @type {HTMLFormElement} */ (document.getElementById("schedule"));
const place = /** @type {HTMLElement} */ (document.getElementById("preview"));

let asked = 0;
/** @type {number | undefined} */
let typing;

async function preview() {
  const now = ++asked;
  const fields = new FormData(form);
  fields.delete("script"); // it may be long, and nothing depends on it
  let text;
  try {
    const body = new URLSearchParams(/** @type {any} */ (fields));
    const response = await fetch("/schedules/preview", { method: "POST", body, cache: "no-store" });
    if (response.redirected) location.reload();
    if (!response.ok) return;
    text = await response.text();
  } catch {
    return; // the button below asks again
  }
  if (now !== asked) return;
  const fresh = /** @type {HTMLElement} */ (place.cloneNode(false));
  fresh.append(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
  morph(place, fresh);
}

form.addEventListener("input", (event) => {
  const field = /** @type {HTMLInputElement} */ (event.target);
  if (!WHEN.includes(field.name)) return;
  clearTimeout(typing);
  typing = setTimeout(preview, TYPING_MS);
});
