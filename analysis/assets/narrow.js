"use strict";
// What has no room in a narrow figure, on the dashboard and in reports.
const NARROW = 480; // pixels

// Beside its marks only the number of a text has room; the tables have the rest.
const shortened = (text) => (/^[-+\d]/.test(text) || text.length > 14 ? text.split(" ")[0].replace(/:$/, "") : text);

// Changes a figure's layout so that it fits a width.
const fitTo = (width, layout) => {
  if (width >= NARROW) return;
  for (const one of layout.annotations ?? []) if (one.name === "beside") one.text = shortened(one.text);
  const { xaxis } = layout;
  if (!xaxis) return;
  xaxis.nticks = 4;
  const isScale = xaxis.tickvals?.length > 4 && xaxis.ticks !== "";
  if (isScale) for (const key of ["tickvals", "ticktext"]) xaxis[key] = xaxis[key].filter((_, place) => place % 2 === 0);
};
