"use strict";
// How figures fit their width and what a reader zooms into, on the dashboard and in reports.
const NARROW = 520; // pixels
const NARROW_TICKS = 4;

// Beside its marks only the number of a text has room, and the star of Holm's correction; the tables have the rest.
function shortened(text) {
  if (!/^[-+\d]/.test(text) && text.length <= 14) return text;
  const [first, ...others] = text.split(" ");
  return first.replace(/[:,]$/, "") + (others.at(-1)?.endsWith("*") ? "*" : "");
}

// Changes a figure's layout and data so that it fits a width; once, however often it is called. Says whether it did.
const fitTo = (width, layout, data) => {
  if (width >= NARROW || layout.xaxis?.nticks === NARROW_TICKS) return false;
  // The fields of a heat map say their numbers; the scale beside them would leave them no room.
  for (const trace of data) if (trace.type === "heatmap") trace.showscale = false;
  if (layout.yaxis?.ticks === "") layout.yaxis.tickfont = { size: 11 };
  for (const one of layout.annotations ?? []) if (one.name === "beside") one.text = shortened(one.text);
  const { xaxis } = layout;
  if (!xaxis) return false;
  xaxis.nticks = NARROW_TICKS;
  const isScale = xaxis.tickvals?.length > NARROW_TICKS && xaxis.ticks !== "";
  if (!isScale) return true;
  // Where there is a tick at 1x, of no difference, it stays.
  const kept = Math.max(0, xaxis.tickvals.indexOf(1)) % 2;
  for (const key of ["tickvals", "ticktext"]) xaxis[key] = xaxis[key].filter((_, place) => place % 2 === kept);
  return true;
};

// The ticks of a logarithmic axis are given. Who zooms in until less than two are left gets plotly's own.
const tickModes = (layout) => {
  const changed = {};
  for (const name of ["xaxis", "yaxis"]) {
    const { type, tickvals, tickmode, range, autorange } = layout[name] ?? {};
    if (type !== "log" || !tickvals || !range) continue;
    const [low, high] = range.map(Number).sort((one, other) => one - other);
    const seen = tickvals.map(Math.log10).filter((place) => low <= place && place <= high).length;
    const wanted = seen < 2 && !autorange ? "auto" : "array";
    if (tickmode !== wanted) changed[`${name}.tickmode`] = wanted;
  }
  return changed;
};
const followZoom = (figure) => figure.on("plotly_afterplot", () => {
  const changed = figure.layout ? tickModes(figure.layout) : {};
  if (Object.keys(changed).length) window.Plotly.relayout(figure, changed);
});
