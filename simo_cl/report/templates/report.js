// What the parts below share, one space of representations at a time, and paper.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
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
