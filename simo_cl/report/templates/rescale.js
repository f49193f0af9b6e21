// Give the strategies that are shown all the room: linear axes go over their values alone, and the
// rows of the comparison do the same. Starts from what was drawn. Where one would flatten all others,
// its line leaves the vertical axis, or its dot stands at the edge, with an arrow at its name.
const drawn = new Map(all(".panel svg:has([data-axis])").map((svg) => [svg, svg.cloneNode(true)]));
const redraw = () => drawn.forEach((original, svg) => svg.replaceChildren(...original.cloneNode(true).childNodes));
const rescale = () => drawn.forEach((_, svg) => {
  const axes = all("[data-axis]", svg).filter((axis) => left_out.size || axis.dataset.axis === "y");
  if (!axes.length) return;
  axes.forEach((axis) => rescaleAxis(svg, axis));
  closeRows(svg);
  placeNames(svg);
  nameBeyond(svg);
});

const WAYS = ["x", "y"];
const MOST_STEPS = 5;
const DIGIT = 4.8; // points
const stepOver = (span) => {
  const unit = 10 ** Math.floor(Math.log10(span / MOST_STEPS));
  return [1, 2, 5, 10].map((factor) => factor * unit).find((step) => step * MOST_STEPS >= span);
};
const ticksBetween = (low, high) => {
  const step = stepOver(high - low);
  const first = Math.ceil(low / step - 1e-6);
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({ length: Math.floor(high / step + 1e-6) - first + 1 }, (_, index) => {
    const value = (first + index) * step;
    return { value, text: shownNumber(value.toFixed(places)) };
  });
};

// A path's and a marker's coordinates along x or y; `move` puts others in their place.
const coordinatesOf = (shape, way) => {
  if (shape.tagName !== "path") return [Number(shape.getAttribute(way))];
  return shape.getAttribute("d").match(/-?[\d.]+/g).filter((_, index) => index % 2 === WAYS.indexOf(way)).map(Number);
};
const move = (shape, way, to) => {
  if (shape.tagName !== "path") { shape.setAttribute(way, to(Number(shape.getAttribute(way))).toFixed(2)); return; }
  let index = 0;
  shape.setAttribute("d", shape.getAttribute("d").replace(/-?[\d.]+/g, (number) => (index++ % 2 === WAYS.indexOf(way) ? to(Number(number)).toFixed(2) : number)));
};
const shapesOf = (element, tags = "use, path") => all(tags, element).filter((shape) => !shape.closest("defs"));

const rescaleAxis = (svg, axis) => {
  const way = axis.dataset.axis;
  const [low, high] = axis.dataset.range.split(" ").map(Number);
  const lines = shapesOf(axis, "path");
  const labels = all("text", axis).slice(0, lines.length);
  const marks = shapesOf(axis, "use");
  if (lines.length < 2) return;
  const ticks = lines.map((line, index) => ({ at: coordinatesOf(line, way)[0], value: Number(labels[index].textContent.replace("−", "-")) }));
  const [a, b] = [ticks[0], ticks.at(-1)];
  const unit = (b.at - a.at) / (b.value - a.value);
  const valueAt = (place) => a.value + (place - a.at) / unit;

  const rows = new Map();
  all("[data-series]:not(.off, [data-name], [data-row])", svg).forEach((element) => {
    const values = shapesOf(element).flatMap((shape) => coordinatesOf(shape, way)).map(valueAt);
    rows.set(element.dataset.series, [...(rows.get(element.dataset.series) ?? []), ...values]);
  });
  const drawnRows = [...rows.values()].filter((values) => values.length);
  if (!drawnRows.length) return;
  const { least, most } = way === "y" ? rangeOf(drawnRows) : extentOf(drawnRows.flat());
  const room = Math.max(0.06 * (most - least), 0.01 * (high - low));
  const bounds = axis.dataset.bounds.split(" ").map((bound) => Number(bound.replace("inf", "Infinity")));
  const [from, to] = [Math.max(bounds[0], least - room), Math.min(bounds[1], most + room)];
  const start = a.at + (low - a.value) * unit;
  axis.ends = [start, start + (high - low) * unit];
  const placeOf = (value) => start + ((value - from) * (high - low) * unit) / (to - from);

  const holds = way === "y" && svg.querySelector("[data-axis=x]");
  const held = (value) => (holds ? Math.min(Math.max(value, from), to) : value);
  all("[data-series]:not([data-name], [data-row]), [data-moves]", svg).forEach((element) => shapesOf(element).forEach((shape) => {
    const value = valueAt(coordinatesOf(shape, way)[0]);
    if (way === "y" && Math.abs(value - (from + to) / 2) > 0.505 * (to - from)) element.dataset.beyond = value > to ? "↑" : "↓";
    move(shape, way, (place) => placeOf(held(valueAt(place))));
  }));
  const next = ticksBetween(from, to).flatMap(({ value, text }) => [lines[0], labels[0], marks[0]].filter(Boolean).map((part) => {
    const copied = part.cloneNode(true);
    move(copied, way, (place) => place + placeOf(value) - a.at);
    if (part === labels[0]) copied.textContent = text;
    return copied;
  }));
  lines[0].before(...next);
  // Longer numbers push the title of a vertical axis aside.
  const [before, now] = [labels, next.filter(({ tagName }) => tagName === "text")].map((texts) => Math.max(...texts.map((text) => text.textContent.length)));
  const title = all("text", axis).at(-1);
  if (way === "y" && title?.hasAttribute("transform") && now > before) title.setAttribute("transform", `translate(${DIGIT * (before - now)} 0) ${title.getAttribute("transform")}`);
  [...lines, ...labels, ...marks].forEach((part) => part.remove());
};

// In the comparison a strategy is a row: those that are shown share its height.
const closeRows = (svg) => {
  const rows = all("[data-row]:has(text)", svg);
  const shown = rows.filter((row) => !row.matches(".off"));
  const places = rows.map((row) => coordinatesOf(row.querySelector("text"), "y")[0]);
  shown.forEach((row, index) => {
    const height = places[1] - places[0];
    const by = places[0] - height / 2 + ((index + 0.5) * height * rows.length) / shown.length - places[rows.indexOf(row)];
    all("[data-series]", svg).filter((each) => each.dataset.series === row.dataset.series)
      .flatMap((each) => shapesOf(each, "use, path, text")).forEach((shape) => move(shape, "y", (place) => place + by));
  });
};

// A name stands beside the last marker of its line, apart from its neighbours, and is tied to it.
const NAME_HEIGHT = 10.5;
const BELOW_MIDDLE = 2.9;
const placeNames = (svg) => {
  const names = all("[data-name]:not(.off)", svg).filter((name) => name.querySelector("text")).map((name) => {
    const markers = all("[data-tip]:not(.off)", svg).filter((marker) => rowsOf(name).includes(marker.dataset.series));
    const [x, y] = WAYS.map((way) => (markers.length ? coordinatesOf(shapesOf(markers.at(-1), "use")[0], way)[0] : NaN));
    return { text: name.querySelector("text"), name: name.dataset.name, beyond: markers.at(-1)?.dataset.beyond, x, y };
  }).filter(({ y }) => !Number.isNaN(y)).sort((one, other) => one.y - other.y);
  const [bottom, top] = svg.querySelector("[data-axis=y]")?.ends ?? [Infinity, -Infinity];
  names.forEach((name) => {
    if (name.beyond) name.text.textContent = `${name.name} ${name.beyond}`;
    name.y = Math.min(Math.max(name.y, top), bottom);
  });
  names.reduce((above, name) => { name.at = Math.max(name.y, above + NAME_HEIGHT); return name.at; }, -Infinity);
  names.reduceRight((below, name) => { name.at = Math.min(name.at, below - NAME_HEIGHT); return name.at; }, bottom + NAME_HEIGHT);
  names.forEach(({ text, name, x, y, at }) => {
    text.setAttribute("y", (at + BELOW_MIDDLE).toFixed(2));
    const tie = all("[data-name]", svg).filter((each) => each.dataset.name === name).flatMap((each) => shapesOf(each, "path"))[0];
    const left = Number(text.getAttribute("x")) - 1;
    const apart = Math.hypot(left - x, at - y);
    const [atX, atY] = [x + (4 * (left - x)) / apart, y + (4 * (at - y)) / apart];
    tie?.setAttribute("d", `M ${left.toFixed(2)} ${at.toFixed(2)} L ${atX.toFixed(2)} ${atY.toFixed(2)}`);
  });
};

// Where a legend has the names, the line that leaves the axis has its own where it does.
const nameBeyond = (svg) => {
  const marker = svg.querySelector("[data-tip][data-beyond]:not(.off)");
  if (!marker || svg.querySelector("[data-name]")) return;
  const axis = svg.querySelector("[data-axis=y]");
  const [left, right] = coordinatesOf(shapesOf(axis, "path")[0], "x");
  const [shape] = shapesOf(marker, "use");
  const [x] = coordinatesOf(shape, "x");
  const { series, beyond } = marker.dataset;
  const text = axis.querySelector("text").cloneNode();
  text.textContent = `${series} ${beyond}`;
  text.setAttribute("x", x);
  text.setAttribute("y", beyond === "↑" ? axis.ends[1] + NAME_HEIGHT : axis.ends[0] - BELOW_MIDDLE);
  text.style.textAnchor = x > (left + right) / 2 ? "end" : "start";
  text.style.fill = shape.style.fill === "var(--surface)" ? shape.style.stroke : shape.style.fill;
  const name = marker.cloneNode();
  ["tip", "beyond"].forEach((part) => delete name.dataset[part]);
  name.append(text);
  svg.append(name);
};
