// What the parts below share, one space of representations at a time, and paper.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
// "-0.000" is 0, and a minus is one.
const shownNumber = (number) => number.replace(/^-(?=[0.]+$)/, "").replace("-", "−");
document.documentElement.classList.add("js");

// The least and the greatest value of the rows. Of three or more, one is left out that would take the
// room: without it the others have less than 1/2.5 of the range.
const FLATTENS = 2.5;
const extentOf = (values) => ({ least: Math.min(...values), most: Math.max(...values) });
const rangeOf = (rows) => {
  const whole = extentOf(rows.flat());
  const others = rows.length > 2 ? rows.map((_, left) => extentOf(rows.filter((__, index) => index !== left).flat())) : [];
  return others.find(({ least, most }) => most > least && FLATTENS * (most - least) < whole.most - whole.least) ?? whole;
};

// A section without the chosen space shows the nearest that it has.
const showSpace = (chosen) => all("section").forEach((section) => {
  const keys = all("[data-space-of]", section).map((block) => block.dataset.spaceOf);
  const key = [chosen, chosen.replace("_centred", ""), ...keys].find((each) => keys.includes(each));
  all("button[data-space]", section).forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.space === key)));
  all("[data-space-of]", section).forEach((block) => { block.hidden = block.dataset.spaceOf !== key; });
});
all("button[data-space]").forEach((button) => button.addEventListener("click", () => showSpace(button.dataset.space)));
showSpace("embedding");

// Paper cannot be opened: show what is folded away.
const folded = new Set();
addEventListener("beforeprint", () => all("details:not([open])").forEach((details) => { details.open = true; folded.add(details); }));
addEventListener("afterprint", () => { folded.forEach((details) => { details.open = false; }); folded.clear(); });

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
