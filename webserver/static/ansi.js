// @ts-check
/**
 * What does a terminal's output say, and in which colours? Text and styles, nothing else: what
 * moves a cursor or names a window is dropped, what would be invisible is made visible.
 *
 * Everything is bounded: a sequence that does not end within MOST_PENDING characters is text.
 */

// CSI … final byte; OSC, DCS and their like up to BEL or ST, within a line; two or three bytes.
const ESCAPE = /\x1b(?:\[([0-?]*)[ -/]*([@-~])|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-OQ-WYZ`-~])/g;
const UNENDED = /\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\n]*\x1b?|[ -/]*)$/;
const HIDDEN = /[\x80-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;
const MOST_PENDING = 4096;
const MOST_PARAMETERS = 32;

/** @typedef {{text: string, style: string}} Piece `style` is a list of classes; lines end in "\n" */

export class Ansi {
  constructor() {
    this.pending = ""; // the beginning of a sequence that goes on in the next part
    /** @type {Set<string>} */
    this.on = new Set();
    this.fore = "";
    this.back = "";
  }

  /**
   * The pieces of the next part of the output, in order.
   * @param {string} part @returns {Piece[]}
   */
  feed(part) {
    let input = this.pending + part;
    this.pending = "";
    const unended = UNENDED.exec(input.slice(-MOST_PENDING)) ?? (input.endsWith("\r") ? { 0: "\r" } : null);
    if (unended !== null) {
      this.pending = unended[0];
      input = input.slice(0, input.length - unended[0].length);
    }
    return this.#pieces(input);
  }

  /** What was held back when nothing more comes. @returns {Piece[]} */
  end() {
    const rest = this.pending;
    this.pending = "";
    return this.#pieces(rest);
  }

  /** @param {string} input @returns {Piece[]} */
  #pieces(input) {
    const pieces = [];
    let from = 0;
    for (const match of input.matchAll(ESCAPE)) {
      if (match.index > from) pieces.push(this.#piece(input.slice(from, match.index)));
      from = match.index + match[0].length;
      if (match[2] === "m") this.#style(match[1]);
    }
    if (from < input.length) pieces.push(this.#piece(input.slice(from)));
    return pieces;
  }

  /** @param {string} text @returns {Piece} */
  #piece(text) {
    const style = [this.fore, this.back, ...this.on].filter(Boolean).join(" ");
    return { text: visible(text), style };
  }

  /** Select Graphic Rendition. @param {string} given */
  #style(given) {
    const numbers = given.split(/[;:]/, MOST_PARAMETERS).map(Number);
    for (let at = 0; at < numbers.length; at += 1) {
      const n = numbers[at];
      if (n === 38 || n === 48) at += this.#extended(n, numbers.slice(at + 1));
      else this.#attribute(n);
    }
  }

  /** @param {number} n */
  #attribute(n) {
    const names = /** @type {Record<number, string>} */ ({ 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" });
    if (n === 0) {
      this.on.clear();
      this.fore = this.back = "";
    } else if (names[n]) this.on.add(names[n]);
    else if (n === 22) ["bold", "dim"].forEach((name) => this.on.delete(name));
    else if (names[n - 20]) this.on.delete(names[n - 20]);
    else if (n >= 30 && n <= 37) this.fore = `f${n - 30}`;
    else if (n >= 90 && n <= 97) this.fore = `f${n - 82}`;
    else if (n === 39) this.fore = "";
    else if (n >= 40 && n <= 47) this.back = `b${n - 40}`;
    else if (n >= 100 && n <= 107) this.back = `b${n - 92}`;
    else if (n === 49) this.back = "";
  }

  /** 256 and true colours, as the nearest of the sixteen. Returns how many numbers it took. */
  #extended(/** @type {number} */ which, /** @type {number[]} */ numbers) {
    const [kind, a, b, c] = numbers;
    if (kind !== 5 && kind !== 2) return 0;
    const colour = kind === 5 ? ofPalette(a) : nearest(a, b, c);
    if (which === 38) this.fore = `f${colour}`;
    else this.back = `b${colour}`;
    return kind === 5 ? 2 : 4;
  }
}

/** @param {number} n of the 256 @returns {number} of the 16 */
function ofPalette(n) {
  if (!(n >= 0 && n <= 255)) return 7;
  if (n < 16) return n;
  if (n >= 232) return n < 238 ? 0 : n < 247 ? 8 : 15;
  const cube = n - 16;
  return nearest(Math.floor(cube / 36) * 51, (Math.floor(cube / 6) % 6) * 51, (cube % 6) * 51);
}

/** @param {number} red @param {number} green @param {number} blue */
function nearest(red, green, blue) {
  const most = Math.max(red, green, blue) || 0;
  if (most < 64) return 0;
  const bits = (red > most / 2 ? 1 : 0) + (green > most / 2 ? 2 : 0) + (blue > most / 2 ? 4 : 0);
  return most > 192 ? bits + 8 : bits;
}

/** What would be invisible, or turn text around, becomes visible; line ends become "\n". */
export function visible(/** @type {string} */ text) {
  return text
    .replace(/\r\n?/g, "\n")
    .replace(CONTROL, (one) => (one === "\x7f" ? "\u2421" : String.fromCharCode(0x2400 + one.charCodeAt(0))))
    .replace(HIDDEN, (one) => `<U+${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}
