// The drawn accuracies and differences of the first table go over the rows that are shown.
const strips = all(".strip-head").map((head) => ({
  head,
  ends: all("span", head),
  before: all("span", head).map((end) => end.textContent),
  cells: all("tbody .strip", head.closest("table")).filter((cell) => cell.cellIndex === head.cellIndex),
}));
const valuesOf = (part) => part.dataset.at.split(" ").map(Number);

// Accuracies between round numbers; differences alike to both sides of 0. One row that would flatten
// all others goes to the edge.
const FLATTENS = 2.5;
const rangeOf = ({ head, cells }) => {
  const signed = head.dataset.strip === "difference";
  const rows = cells.filter((cell) => !cell.closest(".off"))
    .map((cell) => all(signed ? "[data-at]" : ".seed, b", cell).flatMap(valuesOf)).filter((values) => values.length);
  if (!rows.length) return null;
  if (signed) {
    const [furthest, next] = rows.map((values) => Math.max(...values.map(Math.abs))).sort((a, b) => b - a);
    const reach = 1.08 * (rows.length > 2 && furthest > FLATTENS * next ? next : furthest) || 1;
    return { low: -reach, high: reach, texts: [`−${reach.toFixed(3)}`, `+${reach.toFixed(3)}`] };
  }
  const most = Math.max(...rows.flat());
  const [lowest, next] = rows.map((values) => Math.min(...values)).sort((a, b) => a - b);
  const least = rows.length > 2 && most - lowest > FLATTENS * (most - next) ? next : lowest;
  const step = stepOver(Math.max(most - least, 0.01));
  const [low, high] = [Math.max(0, Math.floor(least / step - 0.1) * step), Math.min(1, Math.ceil(most / step + 0.1) * step)];
  const places = Math.max(1, -Math.floor(Math.log10(step) + 1e-9));
  return { low, high, texts: [low.toFixed(places), high.toFixed(places)] };
};

const placeStrips = () => strips.forEach((strip) => {
  const { low, high, texts } = (left_out.size && rangeOf(strip)) || { low: Number(strip.head.dataset.low), high: Number(strip.head.dataset.high), texts: strip.before };
  const placeOf = (value) => Math.min(100, Math.max(0, (100 * (value - low)) / (high - low)));
  strip.ends.forEach((end, index) => { end.textContent = texts[index]; });
  strip.cells.forEach((cell) => all("[data-at]", cell).forEach((part) => {
    const [from, to] = valuesOf(part).map(placeOf);
    part.style.left = `${from.toFixed(2)}%`;
    if (to !== undefined) part.style.width = `${(to - from).toFixed(2)}%`;
    if (part.matches("b")) part.parentNode.classList.toggle("beyond", valuesOf(part)[0] < low || valuesOf(part)[0] > high);
  }));
});
