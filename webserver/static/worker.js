// @ts-check
/** How do all tabs of a browser share one stream? It lives here, in a worker that they share. */

import { Audience } from "./audience.js";

const audience = new Audience();

/** @type {any} */ (self).onconnect = (/** @type {MessageEvent} */ event) => {
  const port = event.ports[0];
  /** @param {import("./audience.js").News} news */
  const tell = (news) => port.postMessage(news);
  port.onmessage = ({ data }) => {
    if (data === "leave") audience.leave(tell);
    else audience.join(tell, data);
  };
};
