// Values on demand: of a heading, of the nearest mark of a figure, of a cell of a heat map; under
// the pointer, or in a figure with the focus by the arrow keys.
const tip = document.getElementById("tip");
let byPointer = true;
const place = (text, x, y) => {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? y - height - 10 : y + 18}px`;
};

const matrixOf = (panel) => {
  const data = panel.querySelector("script");
  panel.matrix ??= data && JSON.parse(data.textContent);
  return panel.matrix;
};
const cellOf = (panel, row, column) => {
  const { rows, columns, values } = matrixOf(panel);
  const value = values[row]?.[column] ?? null;
  return value === null ? "" : `${[panel.dataset.series, `${rows[row]}, ${columns[column]}: ${shownNumber(value.toFixed(3))}`].filter(Boolean).join("\n")}`;
};
// Every value of a figure with its text and where it stands on the screen.
const pointsOf = (panel) => {
  const matrix = matrixOf(panel);
  if (!matrix) {
    return all("[data-tip]:not(.off)", panel).map((mark) => {
      const box = mark.getBoundingClientRect();
      return { text: mark.dataset.tip, x: box.left + box.width / 2, y: box.top + box.height / 2 };
    });
  }
  const box = panel.querySelector("image").getBoundingClientRect();
  return matrix.values.flatMap((cells, row) => cells.map((_, column) => ({
    text: cellOf(panel, row, column),
    x: box.left + ((column + 0.5) * box.width) / cells.length,
    y: box.top + ((row + 0.5) * box.height) / matrix.values.length,
  }))).filter(({ text }) => text);
};
const nearest = (panel, x, y) => {
  const reach = matrixOf(panel) ? Infinity : 18;
  const box = panel.querySelector("image")?.getBoundingClientRect();
  if (matrixOf(panel) && (x < box.left || x > box.right || y < box.top || y > box.bottom)) return "";
  let [best, distance] = ["", reach];
  pointsOf(panel).forEach((point) => {
    const away = Math.hypot(point.x - x, point.y - y);
    if (away < distance) [best, distance] = [point.text, away];
  });
  return best;
};
const tipAt = (event) => {
  byPointer = true;
  const panel = event.target.closest?.(".panel");
  const text = panel ? nearest(panel, event.clientX, event.clientY) : event.target.closest?.("th[data-tip]")?.dataset.tip;
  place(text ?? "", event.clientX, event.clientY);
};
document.addEventListener("pointermove", tipAt);
document.addEventListener("pointerdown", tipAt);
document.addEventListener("scroll", () => { if (byPointer) place(""); }, { passive: true, capture: true });

const MOVES = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
all(".panels").forEach((panels) => {
  panels.tabIndex = 0;
  let at = -1;
  panels.addEventListener("keydown", (event) => {
    if (!(event.key in MOVES)) return;
    event.preventDefault();
    const shown = all(".panel:not(.off, [hidden])", panels);
    const count = shown.reduce((sum, panel) => sum + pointsOf(panel).length, 0);
    if (!count) return;
    at = (at + MOVES[event.key] + count) % count;
    let left = at;
    const panel = shown.find((each) => { const here = pointsOf(each).length; if (left < here) return true; left -= here; return false; });
    byPointer = false;
    panel.scrollIntoView({ block: "nearest", inline: "nearest" });
    const { text, x, y } = pointsOf(panel)[left];
    place(text, x, y);
  });
  panels.addEventListener("blur", () => place(""));
});
all("th[data-tip]").forEach((heading) => {
  heading.addEventListener("focus", () => {
    const box = heading.getBoundingClientRect();
    byPointer = false;
    place(heading.dataset.tip, box.left, box.bottom);
  });
  heading.addEventListener("blur", () => place(""));
});
