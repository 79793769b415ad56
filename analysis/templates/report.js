"use strict";
// Draws the page's figures as they come into view, in the reader's theme; on paper all of them, in light colours.
// In pixels: two figures side by side on a sheet, a tall one by itself; one that is a little too high is made to fit.
const PRINTED_WIDTH = 330, TALL_WIDTH = 690, SHEET_HEIGHT = 880, MADE_TO_FIT = 1300;
// On paper a figure is drawn larger and made smaller, so that its texts have the size of those around it.
const PRINTED_ZOOM = CSS.supports("zoom", "0.68") ? 0.68 : 1;
const dark = matchMedia("(prefers-color-scheme: dark)");
const hidden = new Set();
const drawn = new Set();
let figures, darkColours, isPrinting = false;

const unpack = async (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};

const isDark = () => dark.matches && !isPrinting;

const recoloured = (value) => {
  if (typeof value === "string") return darkColours[value] ?? value;
  if (Array.isArray(value)) return typeof value.at(-1) === "number" ? value : value.map(recoloured);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recoloured(inner)]));
};

const draw = (id) => {
  const place = document.getElementById(id);
  const { data, layout } = isDark() ? recoloured(figures[id]) : structuredClone(figures[id]);
  for (const trace of data) trace.visible = !hidden.has(trace.legendgroup);
  if (isPrinting) {
    layout.width = Math.floor((place.closest(".tall") ? TALL_WIDTH : PRINTED_WIDTH) / PRINTED_ZOOM);
    if (PRINTED_ZOOM * layout.height < MADE_TO_FIT) layout.height = Math.min(layout.height, SHEET_HEIGHT / PRINTED_ZOOM);
  }
  place.style.zoom = isPrinting ? PRINTED_ZOOM : "";
  place.style.height = `${layout.height}px`;
  fitTo(layout.width ?? place.clientWidth, layout, data);
  const isFirst = !drawn.has(id);
  drawn.add(id);
  return Plotly.react(id, data, layout, CONFIG).then((figure) => { if (isFirst) followZoom(figure); });
};

const watch = () => {
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) { observer.unobserve(target); if (!drawn.has(target.id)) draw(target.id); }
    }
  }, { rootMargin: "600px" });
  for (const id of Object.keys(figures)) observer.observe(document.getElementById(id));
  dark.addEventListener("change", () => [...drawn].forEach(draw));
  addEventListener("beforeprint", () => { isPrinting = true; Object.keys(figures).forEach(draw); });
  addEventListener("afterprint", () => { isPrinting = false; Object.keys(figures).forEach(draw); });
};

// A click on a name of a legend hides it in all figures.
document.addEventListener("click", (event) => {
  const button = event.target.closest(".legend button");
  if (!button || !figures) return;
  const label = button.dataset.label;
  if (!hidden.delete(label)) hidden.add(label);
  for (const one of document.querySelectorAll(".legend button")) {
    if (one.dataset.label === label) one.setAttribute("aria-pressed", String(!hidden.has(label)));
  }
  for (const id of drawn) {
    const places = figures[id].data.flatMap((trace, place) => trace.legendgroup === label ? [place] : []);
    if (places.length) Plotly.restyle(id, { visible: !hidden.has(label) }, places);
  }
});

// A table that is wider than the page says so.
const measure = new ResizeObserver((entries) => {
  for (const { target } of entries) target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
});
for (const part of document.querySelectorAll(".scroll")) measure.observe(part);

const start = async () => {
  const code = document.createElement("script");
  code.textContent = await unpack("plotly-code");
  document.head.append(code);
  darkColours = JSON.parse(document.getElementById("dark-colours").textContent);
  figures = JSON.parse(await unpack("figures"));
  watch();
};
start().catch((error) => {
  console.error(error);
  document.getElementById("not-drawn").hidden = false;
});
