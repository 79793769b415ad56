// What the page does by itself: it says when the server is lost, and a click on a run opens or closes its log.
(() => {
  "use strict";
  const PERIOD_MS = 3000;
  const PATIENCE_MS = 4000;

  async function isAlive() {
    try {
      const answer = await fetch("alive", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      return answer.ok;
    } catch {
      return false;
    }
  }

  async function watchServer() {
    const alive = await isAlive();
    const banner = document.getElementById("lost");
    if (banner) {
      banner.hidden = alive;
      document.body.classList.toggle("is-lost", !alive);
    }
    setTimeout(watchServer, PERIOD_MS);
  }

  let chosen = null;
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-run]");
    // Whoever marks text in a row wants to copy it.
    if (row && document.getSelection().isCollapsed) {
      chosen = row.dataset.run === chosen ? null : row.dataset.run;
      window.dash_clientside.set_props("chosen", { data: chosen });
    }
  });

  watchServer();
})();
