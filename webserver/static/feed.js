// @ts-check
/**
 * How do changes reach a browser? One stream of server-sent events, followed across cuts with
 * Last-Event-ID, and beside it a look every few seconds whether the master is there.
 *
 * Not an EventSource: that gives up for good on a 503, and forgets where it was.
 */

/** @typedef {{kind: string, data: any, id: string}} Change */
/** @typedef {"up" | "away" | "cut" | "login"} Link how the connection is */

const EVENTS = "/api/v1/events";
const LOOK_MS = 2000;
const RETRY_MS = 1000;

export class Feed {
  /**
   * @param {(changes: Change[]) => void} onChanges several at once, in order
   * @param {(link: Link) => void} onLink
   */
  constructor(onChanges, onLink) {
    this.onChanges = onChanges;
    this.onLink = onLink;
    this.last = ""; // id of the last event
    /** @type {Link} */
    this.link = "up";
    /** @type {AbortController | null} */
    this.running = null;
  }

  /** Start following; with `since`, from there on. Does nothing while it runs. */
  start(since = "") {
    if (this.running !== null) return;
    this.running = new AbortController();
    this.last ||= since;
    void this.#follow(this.running.signal);
    void this.#look(this.running.signal);
  }

  stop() {
    this.running?.abort();
    this.running = null;
    this.last = "";
  }

  /** @param {AbortSignal} signal */
  async #follow(signal) {
    while (!signal.aborted) {
      try {
        await this.#read(signal);
      } catch {
        // Cut off: the look beside us says why, and we go on from the last event.
      }
      await pause(RETRY_MS, signal);
      while (!signal.aborted && this.link !== "up") await pause(RETRY_MS, signal);
    }
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    const headers = this.last === "" ? undefined : { "Last-Event-ID": this.last };
    const response = await fetch(EVENTS, { headers, signal, cache: "no-store" });
    if (response.status === 401) this.#is("login");
    if (!response.ok || response.body === null) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop() ?? "";
      const changes = frames.map(parsed).filter((change) => change !== null);
      for (const { id } of changes) this.last = id || this.last;
      if (changes.length > 0) this.onChanges(changes);
    }
  }

  /** Asks what costs nothing, and answers 200 also while the master is away. @param {AbortSignal} signal */
  async #look(signal) {
    while (!signal.aborted) {
      try {
        const response = await fetch("/healthz", { signal, cache: "no-store" });
        const health = await response.json();
        if (this.link !== "login") this.#is(health.master === "ok" ? "up" : "away");
      } catch {
        if (!signal.aborted) this.#is("cut");
      }
      await pause(LOOK_MS, signal);
    }
  }

  /** @param {Link} link */
  #is(link) {
    if (link === this.link) return;
    this.link = link;
    this.onLink(link);
  }
}

/** @param {string} frame @returns {Change | null} None for a comment. */
function parsed(frame) {
  let kind = "";
  let id = "";
  let text = "";
  for (const line of frame.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("data: ")) text += line.slice(6);
  }
  return kind === "" ? null : { kind, id, data: JSON.parse(text || "{}") };
}

/** @param {number} ms @param {AbortSignal} signal */
function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(null);
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve(null)), { once: true });
  });
}
