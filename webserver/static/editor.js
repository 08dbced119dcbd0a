// @ts-check
/** What makes a textarea fit for scripts? Line numbers, and Tab that indents and can be left. */

const INDENT = "    ";

/** @param {HTMLTextAreaElement} area */
export function edit(area) {
  const gutter = document.createElement("pre");
  gutter.className = "gutter";
  gutter.setAttribute("aria-hidden", "true");
  area.before(gutter);
  let lines = 0;
  const number = () => {
    const now = area.value.split("\n").length;
    if (now === lines) return;
    lines = now;
    gutter.textContent = Array.from({ length: lines }, (_, n) => n + 1).join("\n");
    gutter.append("\n\n"); // as much room below as a scroll bar takes
  };
  area.addEventListener("input", number);
  area.addEventListener("scroll", () => (gutter.scrollTop = area.scrollTop));
  number();
  takeTab(area);
}

/** Tab indents, Shift+Tab takes back; Esc makes the next Tab leave, as everywhere else. */
function takeTab(/** @type {HTMLTextAreaElement} */ area) {
  let leaving = false;
  area.addEventListener("blur", () => (leaving = false));
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leaving = true;
    else if (event.key === "Tab" && !leaving && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      if (event.shiftKey) outdent(area);
      else indent(area);
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      insert(area, `\n${/^[ \t]*/.exec(currentLine(area))?.[0] ?? ""}`);
    } else if (event.key !== "Shift" && event.key !== "Tab") leaving = false;
  });
}

/** Through the browser's own way of typing, so that undo knows of it. */
function insert(/** @type {HTMLTextAreaElement} */ area, /** @type {string} */ text) {
  if (!document.execCommand("insertText", false, text)) {
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/** @param {HTMLTextAreaElement} area */
function currentLine(area) {
  return area.value.slice(lineStart(area), area.selectionStart);
}

/** @param {HTMLTextAreaElement} area */
function lineStart(area) {
  return area.value.lastIndexOf("\n", area.selectionStart - 1) + 1;
}

/** @param {HTMLTextAreaElement} area */
function indent(area) {
  if (!area.value.slice(area.selectionStart, area.selectionEnd).includes("\n")) insert(area, INDENT);
  else overLines(area, (line) => (line === "" ? line : INDENT + line));
}

/** @param {HTMLTextAreaElement} area */
function outdent(area) {
  overLines(area, (line) => line.replace(/^(?:\t| {1,4})/, ""));
}

/** @param {HTMLTextAreaElement} area @param {(line: string) => string} change */
function overLines(area, change) {
  const start = lineStart(area);
  const after = area.value.indexOf("\n", area.selectionEnd);
  const end = after < 0 ? area.value.length : after;
  const changed = area.value.slice(start, end).split("\n").map(change).join("\n");
  if (changed === area.value.slice(start, end)) return;
  area.setSelectionRange(start, end);
  insert(area, changed);
  area.setSelectionRange(start, start + changed.length);
}
