// @ts-check
/** How does a state look? The same signs and words as in templates/parts.html. */

/** @type {Record<string, string>} */
export const SIGNS = {
  WAITING: "○", RUNNING: "▶", SUCCEED: "✓", FAILED: "✕", TIMEOUT: "T", CANCELLED: "⊘",
  SKIPPED: "↷", UNKNOWN: "?", PAUSED: "‖", online: "●", stale: "◐", offline: "○",
};

/** @type {Record<string, string>} the letters of the grid in the API */
export const STATES = {
  W: "WAITING", R: "RUNNING", S: "SUCCEED", F: "FAILED",
  T: "TIMEOUT", C: "CANCELLED", K: "SKIPPED", U: "UNKNOWN",
};

/** @param {string} state */
export function word(state) {
  return { SUCCEED: "succeeded", TIMEOUT: "timed out" }[state] ?? state.toLowerCase();
}

/** A state as templates/parts.html shows it. @param {string} state */
export function stateElement(state) {
  const shown = element("span", `state ${state.toLowerCase()}`);
  shown.append(signElement(state), ` ${word(state)}`);
  return shown;
}

/** @param {string} state */
export function signElement(state) {
  const sign = element("span", "sign", SIGNS[state] ?? "·");
  sign.setAttribute("aria-hidden", "true");
  return sign;
}

/** @param {string} tag @param {string} [name] of its class @param {string} [text] */
export function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}
