// @ts-check
/**
 * How does a page take over what is new in a later version of itself? In place: an element
 * that stays keeps its focus, its scroll position, its selection, and whether it is folded.
 */

/**
 * Make `from` like `to`, changing only what differs.
 * @param {Element} from @param {Element} to
 */
export function morph(from, to) {
  takeAttributes(from, to);
  let at = from.firstChild;
  for (const wanted of to.childNodes) {
    const found = match(from, at, wanted);
    if (found === null) {
      from.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    if (found !== at) from.insertBefore(found, at);
    else at = at.nextSibling;
    take(found, wanted);
  }
  while (at !== null) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** @param {ChildNode} found @param {ChildNode} wanted */
function take(found, wanted) {
  if (found instanceof Element && wanted instanceof Element) {
    // Inert here, and parsed otherwise where scripts are off.
    if (found.nodeName !== "NOSCRIPT") morph(found, wanted);
  } else if (found.nodeValue !== wanted.nodeValue) {
    found.nodeValue = wanted.nodeValue;
  }
}

/**
 * The child of `from` that `wanted` is the new version of: the one of the same id, else the next.
 * @param {Element} from @param {ChildNode | null} at @param {ChildNode} wanted
 * @returns {ChildNode | null}
 */
function match(from, at, wanted) {
  const id = wanted instanceof Element ? wanted.id : "";
  if (id !== "") {
    const found = document.getElementById(id);
    return found !== null && found.parentNode === from ? found : null;
  }
  if (at === null || at.nodeName !== wanted.nodeName) return null;
  return at instanceof Element && at.id !== "" ? null : at;
}

/** @param {Element} from @param {Element} to */
function takeAttributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !isPersons(from, name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !isPersons(from, name)) from.setAttribute(name, value);
  }
}

/**
 * What the person at the page decides, not the server.
 * @param {Element} element @param {string} name
 */
function isPersons(element, name) {
  return name === "open" && element.nodeName === "DETAILS";
}
