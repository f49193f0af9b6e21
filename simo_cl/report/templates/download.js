// Save a figure as it is shown, with the strategies and the experience that were chosen: its panels
// in one SVG, in the colours of paper and with nothing left to the page's style sheet; or as PNG.
const SVG = "http://www.w3.org/2000/svg";
const FONT = "Inter, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
const PIXELS_A_POINT = 96 / 72;
const WIDEST = 900; // points
const paper = getComputedStyle(document.getElementById("paper"));
const onPaper = (text) => text.replace(/var\((--[\w-]+)\)/g, (_, name) => paper.getPropertyValue(name).trim());

const element = (name, attributes, ...children) => {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
};
const written = (text, x, y, anchor = "start") => element("text", { x, y, "text-anchor": anchor, style: "fill: var(--ink)" }, text);
const ruler = document.createElement("canvas").getContext("2d");
const widthOf = (text) => { ruler.font = `8px ${FONT}`; return ruler.measureText(text).width; };

const panelOf = (svg, x, y, width, height) => {
  const panel = svg.cloneNode(true);
  ["style", "role", "aria-label"].forEach((name) => panel.removeAttribute(name));
  Object.entries({ x, y, width, height, overflow: "visible" }).forEach(([key, value]) => panel.setAttribute(key, value));
  all(".off", panel).forEach((mark) => mark.remove());
  all("g", panel).forEach((mark) => mark.getAttributeNames().filter((name) => name === "class" || name.startsWith("data-")).forEach((name) => mark.removeAttribute(name)));
  return panel;
};
// The figure's legend in lines of at most `width`, from `top` on; how high it is comes back too.
const legendOf = (figure, width, top) => {
  let [x, y] = [6, top];
  const parts = all(".legend span:not(.off)", figure).flatMap((entry) => {
    const name = entry.textContent.trim();
    const room = widthOf(name) + 26;
    if (x > 6 && x + room > width) [x, y] = [6, y + 14];
    const glyph = entry.querySelector("svg")?.cloneNode(true);
    const dot = element("circle", { cx: x + 4, cy: y + 7, r: 3.2, style: `fill: ${entry.querySelector("i")?.style.background}` });
    if (glyph) Object.entries({ x, y: y + 3, width: 8, height: 8, "stroke-width": 2.5, overflow: "visible" }).forEach(([key, value]) => glyph.setAttribute(key, value));
    const text = written(name, x + 12, y + 10);
    x += room;
    return [glyph ?? dot, text];
  });
  return { parts, height: parts.length ? y + 16 - top : 0 };
};
const scaleOf = (figure, top) => {
  const scale = figure.querySelector(".scale");
  if (!scale) return { parts: [], height: 0 };
  const stops = scale.classList.contains("signed") ? [[0, "--negative", 1], [0.5, "--negative", 0], [0.5, "--positive", 0], [1, "--positive", 1]] : [[0, "--positive", 0], [1, "--positive", 1]];
  const id = `${figure.id}-scale`;
  const gradient = element("linearGradient", { id }, ...stops.map(([offset, colour, opacity]) => element("stop", { offset, style: `stop-color: rgb(var(${colour})); stop-opacity: ${opacity}` })));
  const bar = element("rect", { x: 24, y: top + 4, width: 100, height: 7, style: `fill: url(#${id}); stroke: var(--rule); stroke-width: 0.6` });
  const [low, high] = all("span", scale).map((end) => end.textContent);
  return { parts: [gradient, bar, written(low, 20, top + 11, "end"), written(high, 128, top + 11)], height: 18 };
};

const drawingOf = (figure) => {
  const panels = all(".panel:not(.off, [hidden]) svg", figure);
  const { width, height } = panels[0]?.viewBox.baseVal ?? { width: 200, height: 0 };
  const fitting = Math.max(1, Math.min(panels.length, Math.floor(WIDEST / width)));
  const set = figure.classList.contains("together") && Number(figure.style.getPropertyValue("--columns"));
  const columns = set || Math.ceil(panels.length / Math.ceil(panels.length / fitting)) || 1;
  const grid = { width: columns * width, height: Math.ceil(panels.length / columns) * height };
  const legend = legendOf(figure, grid.width, grid.height);
  const scale = scaleOf(figure, grid.height + legend.height);
  const total = { width: grid.width, height: grid.height + legend.height + scale.height };
  const drawing = element("svg", {
    xmlns: SVG, viewBox: `0 0 ${total.width} ${total.height}`, width: total.width * PIXELS_A_POINT, height: total.height * PIXELS_A_POINT,
    "font-family": FONT, "font-size": 8,
  });
  drawing.append(
    element("title", {}, figure.querySelector("h3").textContent),
    element("desc", {}, figure.querySelector("figcaption").textContent),
    element("rect", { width: "100%", height: "100%", fill: "#fff" }),
    ...panels.map((svg, index) => panelOf(svg, (index % columns) * width, Math.floor(index / columns) * height, width, height)),
    ...legend.parts,
    ...scale.parts,
  );
  return onPaper(new XMLSerializer().serializeToString(drawing));
};

const toPng = async (drawing) => {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}`;
  await new Promise((done, fail) => Object.assign(image, { onload: done, onerror: fail }));
  const canvas = Object.assign(document.createElement("canvas"), { width: 2 * image.width, height: 2 * image.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
};
const save = (content, name) => {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
};
all("button[data-save]").forEach((button) => button.addEventListener("click", async () => {
  const figure = button.closest("figure");
  const step = figure.classList.contains("together") ? null : figure.querySelector("input[data-step]");
  const name = figure.id.replace("figure-", "") + (step ? `-after-${Number(step.value) + 1}` : "");
  const drawing = drawingOf(figure);
  const content = button.dataset.save === "png" ? await toPng(drawing) : new Blob([drawing], { type: "image/svg+xml" });
  save(content, `${name}.${button.dataset.save}`);
}));
