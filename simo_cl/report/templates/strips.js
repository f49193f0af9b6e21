// The accuracies and differences that the first table draws go over the rows that are shown.
const strips = all(".strip-head").map((head) => ({
  head,
  ends: all("span", head),
  cells: all("tbody .strip", head.closest("table")).filter((cell) => cell.cellIndex === head.cellIndex),
}));
const valuesOf = (part) => part.dataset.at.split(" ").map(Number);

// Accuracies between round numbers; differences alike to both sides of 0.
const axisOf = ({ head, cells }) => {
  const signed = head.dataset.strip === "difference";
  const rows = cells.filter((cell) => !cell.closest(".off"))
    .map((cell) => all(signed ? "[data-at]" : ".seed, b", cell).flatMap(valuesOf)).filter((values) => values.length);
  if (!rows.length) return { low: 0, high: 1, texts: ["", ""] };
  if (signed) {
    const reach = 1.08 * rangeOf(rows.map((values) => [0, Math.max(...values.map(Math.abs))])).most || 1;
    return { low: -reach, high: reach, texts: [`−${reach.toFixed(3)}`, `+${reach.toFixed(3)}`] };
  }
  const { least, most } = rangeOf(rows);
  const step = stepOver(Math.max(most - least, 0.01));
  const [low, high] = [Math.max(0, Math.floor(least / step - 0.1) * step), Math.min(1, Math.ceil(most / step + 0.1) * step)];
  const places = Math.max(1, -Math.floor(Math.log10(step) + 1e-9));
  return { low, high, texts: [low.toFixed(places), high.toFixed(places)] };
};

const placeStrips = () => strips.forEach((strip) => {
  const { low, high, texts } = axisOf(strip);
  const placeOf = (value) => Math.min(100, Math.max(0, (100 * (value - low)) / (high - low)));
  strip.ends.forEach((end, index) => { end.textContent = texts[index]; });
  strip.cells.forEach((cell) => all("[data-at]", cell).forEach((part) => {
    const [value] = valuesOf(part);
    const [from, to] = valuesOf(part).map(placeOf);
    part.style.left = `${from.toFixed(2)}%`;
    if (to !== undefined) part.style.width = `${(to - from).toFixed(2)}%`;
    if (!part.matches("b")) return;
    part.parentNode.classList.toggle("beyond", value < low || value > high);
    part.querySelector("em").textContent = value < low ? "◂" : "▸";
  }));
});
