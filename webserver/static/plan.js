// @ts-check
/** How do the pages of plans follow them? With their tasks; what is between two has no event. */

import { follow, refresh } from "./live.js";

const LOOK_MS = 2000;

follow("", refresh);
setInterval(() => {
  if (document.querySelector("[data-goes-on]") !== null) refresh();
}, LOOK_MS);
