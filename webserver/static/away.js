// @ts-check
/** When does a page that could not be made try again? As soon as the master is back. */

const LOOK_MS = 1500;

async function look() {
  try {
    const response = await fetch("/healthz", { cache: "no-store" });
    if ((await response.json()).master === "ok") location.reload();
  } catch {
    // The web server is away, too.
  }
}

// What a form sent is not sent again by a reload.
if (document.querySelector("[role=status].hint") !== null) setInterval(look, LOOK_MS);
