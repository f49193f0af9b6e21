// Choose strategies in one place: figures and tables follow, but for those marked as whole. What
// belongs to several strategies goes with the last of them.
const chips = all("button[data-choose]");
const everything = document.getElementById("choose-all");
const left_out = new Set();
const rowsOf = (element) => element.dataset.series.split("\n");

const follow = () => {
  chips.forEach((chip) => chip.setAttribute("aria-pressed", String(!left_out.has(chip.dataset.choose))));
  redraw();
  all("[data-series]").forEach((element) => {
    element.classList.toggle("off", rowsOf(element).every((row) => left_out.has(row)) && !element.closest(".whole"));
  });
  rescale();
  placeStrips();
  if (everything) everything.disabled = left_out.size === 0;
};

// While a chip has the pointer or the focus, its strategy stands out.
const pointOut = (label) => all("[data-series]").forEach((element) => {
  element.classList.toggle("dim", label !== null && !rowsOf(element).includes(label) && !element.closest(".whole"));
});

chips.forEach((chip) => {
  const label = chip.dataset.choose;
  chip.addEventListener("click", () => {
    if (!left_out.delete(label)) left_out.add(label);
    follow();
    pointOut(null);
  });
  chip.addEventListener("pointerenter", () => pointOut(left_out.has(label) ? null : label));
  chip.addEventListener("pointerleave", () => pointOut(null));
});
everything?.addEventListener("click", () => { left_out.clear(); follow(); });
follow();
