// @ts-check
// Which hosts does a limit mean? Said while one types; without this module a button asks.

const input = /** @type {HTMLInputElement} */ (document.getElementById("limit"));
const meaning = /** @type {HTMLElement} */ (document.getElementById("meaning"));
const PAUSE_MS = 300;
const LONGEST = 200;

let asked = 0;
let timer = 0;

async function look() {
  const expression = input.value.trim();
  const mine = ++asked;
  if (!expression) {
    meaning.textContent = "";
    return;
  }
  const sentence = await said(expression);
  if (mine === asked) meaning.textContent = sentence;
}

/** @param {string} expression */
async function said(expression) {
  try {
    const response = await fetch(`/api/v1/targets?expr=${encodeURIComponent(expression)}`);
    const answer = await response.json();
    if (!response.ok) return answer.error.message;
    if (!answer.count) return "No host now.";
    const named = answer.nodeset.length <= LONGEST ? answer.nodeset : `${answer.nodeset.slice(0, LONGEST)}…`;
    return `Now ${answer.count.toLocaleString("en")} ${answer.count === 1 ? "host" : "hosts"}: ${named}`;
  } catch {
    return "";
  }
}

document.getElementById("check-limit")?.setAttribute("hidden", "");
input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, PAUSE_MS);
});
