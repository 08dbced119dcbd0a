// @ts-check
/** Who hears of which change? The pages that share one feed, each with what it wants. */

import { Feed } from "./feed.js";

/**
 * What a page wants to hear of: a task with all its runs, or ("") of all tasks without runs; or
 * where `plan` is given of that plan and its tasks, or ("") of all plans without tasks. `since` is the position of what it shows; "" when it does not know.
 * @typedef {{task: string, plan?: string, since: string}} Wish
 */
/** @typedef {{changes?: import("./feed.js").Change[], link?: import("./feed.js").Link}} News */

export class Audience {
  constructor() {
    /** @type {Map<(news: News) => void, Wish>} */
    this.pages = new Map();
    this.feed = new Feed(
      (changes) => this.#tell(changes),
      (link) => this.pages.forEach((_, tell) => tell({ link })),
    );
  }

  /** @param {(news: News) => void} tell @param {Wish} wish */
  join(tell, wish) {
    this.pages.set(tell, wish);
    if (this.feed.running === null) {
      this.feed.start(wish.since);
      return;
    }
    tell({ link: this.feed.link });
    if (isBehind(wish.since, this.feed.last)) tell({ changes: [{ kind: "reset", data: {}, id: "" }] });
  }

  /** @param {(news: News) => void} tell */
  leave(tell) {
    this.pages.delete(tell);
    if (this.pages.size === 0) this.feed.stop();
  }

  /** @param {import("./feed.js").Change[]} changes */
  #tell(changes) {
    for (const [tell, wish] of this.pages) {
      const wanted = changes.filter((change) => concerns(change, wish));
      if (wanted.length > 0) tell({ changes: wanted });
    }
  }
}

/** @param {import("./feed.js").Change} change @param {Wish} wish */
function concerns({ kind, data }, wish) {
  if (kind === "reset") return true;
  if (wish.plan !== undefined) {
    if (wish.plan === "") return kind === "plan";
    return (kind === "plan" ? data.id : data.plan) === wish.plan;
  }
  if (kind === "plan") return false;
  if (wish.task === "") return kind === "task" || kind === "moved";
  return (kind === "task" ? data.id : data.task) === wish.task;
}

/** Has something happened between what the page shows and what is sent from now on? */
function isBehind(/** @type {string} */ since, /** @type {string} */ last) {
  const [shown, now] = [since.split("-"), last.split("-")];
  return shown[0] !== now[0] || Number(shown[1]) < Number(now[1]);
}
