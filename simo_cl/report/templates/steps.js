// Step through the experiences: one slider a figure, and all of them move together.
const sliders = all("input[data-step]");

const showStep = (slider, step) => {
  const figure = slider.closest("figure");
  const together = figure.classList.contains("together");
  slider.value = step;
  slider.nextElementSibling.textContent = slider.value === "" ? "" : Number(slider.value) + 1;
  const panels = all(".panel[data-step]", figure);
  // A row that was trained at once has one panel: the latest that is not after the chosen one.
  const latest = new Map();
  panels.forEach(({ dataset: { series, step: own } }) => {
    if (Number(own) <= Number(slider.value)) latest.set(series, Math.max(latest.get(series) ?? 0, Number(own)));
  });
  panels.forEach((panel) => {
    panel.hidden = !together && Number(panel.dataset.step) !== latest.get(panel.dataset.series);
  });
};
sliders.forEach((slider) => {
  slider.addEventListener("input", () => sliders.forEach((other) => showStep(other, slider.value)));
  const side = slider.closest(".steps").querySelector("button");
  side.addEventListener("click", () => {
    const together = slider.closest("figure").classList.toggle("together");
    side.setAttribute("aria-pressed", String(together));
    slider.disabled = together;
    showStep(slider, slider.value);
  });
  showStep(slider, slider.max);
});
