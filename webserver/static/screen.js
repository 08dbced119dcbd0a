// @ts-check
/**
 * How is much output shown without harm? As lines of text nodes, in blocks that are laid out
 * only when they are in view; beyond a bound the oldest go, and a line too long is broken.
 */

import { Ansi } from "./ansi.js";
import { element } from "./signs.js";

const LINES_IN_BLOCK = 200;
const MOST_LINES = 40_000;
const MOST_CHARACTERS = 4_000_000;
const LONGEST_LINE = 4_000;
const MOST_STYLED = 100_000; // pieces with a colour; from there on without: a colour a letter is an attack

export class Screen {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.ansi = new Ansi();
    this.styled = 0;
    this.characters = 0;
    this.dropped = false; // has something gone to make room?
    this.lines = 0;
    /** @type {HTMLElement | null} the line that goes on */
    this.line = null;
    this.length = 0; // of that line
  }

  /** @param {string} part */
  write(part) {
    for (const piece of this.ansi.feed(part)) this.#put(piece);
    this.#forget();
  }

  end() {
    for (const piece of this.ansi.end()) this.#put(piece);
  }

  /** All lines that are there. */
  all() {
    return [...this.place.querySelectorAll(".line")];
  }

  /** @param {import("./ansi.js").Piece} piece */
  #put({ text, style }) {
    const lines = text.split("\n");
    lines.forEach((line, n) => {
      if (n > 0) this.#endLine();
      for (let at = 0; at < line.length; at += LONGEST_LINE) {
        this.#append(line.slice(at, at + LONGEST_LINE), style);
      }
    });
  }

  #endLine() {
    if (this.line === null) this.#newLine();
    this.line = null;
  }

  #newLine() {
    let block = /** @type {HTMLElement | null} */ (this.place.lastElementChild);
    if (block === null || block.childElementCount >= LINES_IN_BLOCK) {
      block = element("span", "block");
      this.place.append(block);
    }
    this.line = element("span", "line");
    this.length = 0;
    this.lines += 1;
    block.append(this.line);
    return this.line;
  }

  /** @param {string} text @param {string} style */
  #append(text, style) {
    if (this.line === null || this.length >= LONGEST_LINE) this.#newLine();
    this.length += text.length;
    this.characters += text.length;
    if (style !== "") this.styled += 1;
    const plain = style === "" || this.styled > MOST_STYLED;
    this.line?.append(plain ? text : element("span", style, text));
  }

  #forget() {
    while ((this.lines > MOST_LINES || this.characters > MOST_CHARACTERS) && this.place.childElementCount > 1) {
      const oldest = /** @type {Element} */ (this.place.firstElementChild);
      this.lines -= oldest.childElementCount;
      this.characters -= oldest.textContent?.length ?? 0;
      oldest.remove();
      this.dropped = true;
    }
  }
}
