// What the page does by itself: it says when the server is lost, which theme the reader's system has, and a click on a
// run opens or closes its log. Before the page is printed it makes the figures fit the sheet.
(() => {
  "use strict";
  const PERIOD_MS = 3000;
  const PATIENCE_MS = 4000;
  // In pixels: two figures beside each other on a sheet, and one that is a little too high is made to fit.
  const WIDTH_ON_PAPER = 330;
  const HEIGHT_ON_PAPER = 820;
  const MADE_TO_FIT = 1300;

  async function isAlive() {
    try {
      const answer = await fetch("alive", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      await answer.text(); // an answer that is not read counts as aborted
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

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => {
    document.body.classList.toggle("is-dark", dark.matches);
    return dark.matches ? "dark" : "light";
  };

  // What runs are narrowed by stands in the address, where it outlives the visit: by key the chosen values.
  const inAddress = () => {
    const found = new Map();
    for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
      found.set(key, [...(found.get(key) ?? []), value]);
    }
    return Object.fromEntries(found);
  };
  const words = (chosen) => {
    const pairs = Object.entries(chosen).flatMap(([key, values]) => values.map((value) => [key, value]));
    return new URLSearchParams(pairs).toString();
  };
  // Called once before there is any control, then whenever one comes or changes.
  const filters = (values, ids, before) => {
    if (!before) return inAddress();
    const chosen = { ...before };
    ids.forEach(({ filter }, place) => { chosen[filter] = values[place] ?? []; });
    if (words(chosen) === words(before)) return window.dash_clientside.no_update;
    history.replaceState(null, "", words(chosen) ? `#${words(chosen)}` : location.pathname);
    return chosen;
  };
  addEventListener("hashchange", () => location.reload());

  window.dash_clientside = Object.assign({}, window.dash_clientside, { adabatch: { theme, filters } });
  dark.addEventListener("change", () => window.dash_clientside.set_props("theme", { data: theme() }));

  let chosen = null;
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-run]");
    // Whoever marks text in a row wants to copy it.
    if (row && document.getSelection().isCollapsed) {
      chosen = row.dataset.run === chosen ? null : row.dataset.run;
      window.dash_clientside.set_props("chosen", { data: chosen });
    }
  });

  // The layout is changed in place, so that of the relayout Dash hears the size only: of more it draws the figure anew.
  const onScreen = new WeakMap();
  const figures = () => document.querySelectorAll(".js-plotly-plot");
  addEventListener("beforeprint", () => {
    for (const figure of figures()) {
      const { clientWidth, clientHeight } = figure;
      const { annotations, xaxis, yaxis } = figure.layout;
      onScreen.set(figure, structuredClone({ annotations, xaxis, yaxis }));
      fitTo(WIDTH_ON_PAPER, figure.layout, figure.data);
      const height = clientHeight < MADE_TO_FIT ? Math.min(clientHeight, HEIGHT_ON_PAPER) : clientHeight;
      window.Plotly.relayout(figure, { autosize: false, width: WIDTH_ON_PAPER, height });
    }
  });
  addEventListener("afterprint", () => {
    for (const figure of figures()) {
      Object.assign(figure.layout, onScreen.get(figure));
      window.Plotly.relayout(figure, { autosize: true, width: null, height: null });
    }
  });

  // The server does not know how wide a figure is.
  const fit = (figure) => {
    if (figure.layout && fitTo(figure.clientWidth, figure.layout, figure.data)) window.Plotly.redraw(figure);
  };
  new MutationObserver(() => {
    for (const figure of document.querySelectorAll(".js-plotly-plot:not([data-fits])")) {
      figure.dataset.fits = "";
      figure.on("plotly_afterplot", () => fit(figure));
      followZoom(figure);
    }
  }).observe(document.documentElement, { childList: true, subtree: true });

  watchServer();
})();
