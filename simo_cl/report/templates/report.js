// What the parts below share, one space of representations at a time, and paper.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
// "-0.000" is 0, and a minus is one.
const shownNumber = (number) => number.replace(/^-(?=[0.]+$)/, "").replace("-", "−");
document.documentElement.classList.add("js");

// A section without the chosen space shows the nearest that it has.
const showSpace = (chosen) => all("section").forEach((section) => {
  const keys = all("[data-space-of]", section).map((block) => block.dataset.spaceOf);
  const key = [chosen, chosen.replace("_centred", ""), ...keys].find((each) => keys.includes(each));
  all("button[data-space]", section).forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.space === key)));
  all("[data-space-of]", section).forEach((block) => { block.hidden = block.dataset.spaceOf !== key; });
});
all("button[data-space]").forEach((button) => button.addEventListener("click", () => showSpace(button.dataset.space)));
showSpace("embedding");

// Paper cannot be opened: show what is folded away, but for the long lists.
addEventListener("beforeprint", () => all("#protocol details").forEach((details) => { details.open = true; }));

// Nor does paper scroll: a wide table goes on below itself, every part with the first column.
const COLUMNS_ON_PAPER = 12;
const keepColumns = (table, from, size) => {
  const kept = ({ cellIndex: at }) => at === 0 || (at >= from && at < from + size);
  [...table.rows].flatMap((row) => [...row.cells].filter((cell) => !kept(cell))).forEach((cell) => cell.classList.add("elsewhere"));
};
addEventListener("beforeprint", () => all("table").forEach((table) => {
  const columns = table.rows[0].cells.length - 1;
  const parts = Math.ceil(columns / COLUMNS_ON_PAPER);
  const size = Math.ceil(columns / parts);
  for (let from = 1 + size; from <= columns; from += size) {
    const further = table.cloneNode(true);
    further.classList.add("further");
    keepColumns(further, from, size);
    table.parentNode.append(further);
  }
  if (parts > 1) keepColumns(table, 1, size);
}));
addEventListener("afterprint", () => {
  all("table.further").forEach((table) => table.remove());
  all(".elsewhere").forEach((cell) => cell.classList.remove("elsewhere"));
});
