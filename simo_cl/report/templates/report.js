"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // Tables: sort by a heading, copy as CSV.
  const valueOf = (row, column) => row.cells[column]?.dataset.value;
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? String(a).localeCompare(String(b), "en", { numeric: true }) : x - y;
  };
  const sortBy = (table, heading) => {
    const column = heading.cellIndex;
    const rows = all("tbody tr:not(.group)", table);
    const next = { descending: "ascending", ascending: "none" }[heading.getAttribute("aria-sort")] ?? "descending";
    all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
    table.classList.toggle("sorted", next !== "none");
    if (next === "none") {
      rows.sort((a, b) => a.dataset.place - b.dataset.place).forEach((row) => row.home.append(row));
      return;
    }
    heading.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const [known, unknown] = [rows.filter((r) => valueOf(r, column) !== undefined), rows.filter((r) => valueOf(r, column) === undefined)];
    known.sort((a, b) => sign * compare(valueOf(a, column), valueOf(b, column)));
    table.tBodies[0].append(...known, ...unknown);
  };
  all("table.sortable").forEach((table) => {
    all("tbody tr:not(.group)", table).forEach((row, place) => { row.dataset.place = place; row.home = row.parentNode; });
    all("thead th:not(.strip-head)", table).forEach((heading) => {
      heading.tabIndex = 0;
      heading.addEventListener("click", () => sortBy(table, heading));
      heading.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sortBy(table, heading); }
      });
    });
  });
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csvOf = (table) => {
    const deviates = [...table.tHead.rows[0].cells].map((_, i) => all("tbody tr", table).some((row) => row.cells[i]?.dataset.deviation));
    const head = [...table.tHead.rows[0].cells].flatMap((cell, i) => {
      const name = cell.textContent.replace(/[↑↓\u00a0]/g, "").trim();
      return deviates[i] ? [name, `${name} std`] : [name];
    });
    const lines = all("tbody tr", table).map((row) => [...row.cells].flatMap((cell, i) => {
      const value = cell.dataset.value ?? "";
      return deviates[i] ? [value, cell.dataset.deviation ?? ""] : [value];
    }));
    return [head, ...lines].map((line) => line.map(quoted).join(",")).join("\n") + "\n";
  };
  const copy = async (button, text) => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1200);
  };
  all("button.copy").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => copy(button, csvOf(button.closest(".table").querySelector("table"))));
  });
  all("button.copy-text").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => copy(button, button.previousElementSibling.textContent));
  });

  // Point out one strategy everywhere: by its button, or by resting on it in a curve.
  let held = null;
  const pointOut = (label) => all("[data-series]").forEach((element) => {
    element.classList.toggle("dim", label !== null && element.dataset.series !== label && !element.closest(".board"));
  });
  all("button[data-focus]").forEach((button) => button.addEventListener("click", () => {
    held = held === button.dataset.focus ? null : button.dataset.focus;
    all("button[data-focus]").forEach((other) => other.setAttribute("aria-pressed", String(other.dataset.focus === held)));
    pointOut(held);
  }));
  all("button[data-focus]").forEach((button) => {
    button.addEventListener("pointerenter", () => pointOut(button.dataset.focus));
    button.addEventListener("pointerleave", () => pointOut(held));
  });

  // One space at a time.
  const spaces = all("button[data-space]");
  const show = (key) => {
    spaces.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.space === key)));
    all("[data-space-of]").forEach((block) => { block.hidden = block.dataset.spaceOf !== key; });
  };
  spaces.forEach((button) => button.addEventListener("click", () => show(button.dataset.space)));
  if (spaces.length) show((spaces.find((button) => button.dataset.space === "embedding") ?? spaces[0]).dataset.space);

  // Tooltips: headings, the nearest marker of a figure, a cell of a heat map.
  const tip = document.getElementById("tip");
  const place = (text, x, y) => {
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
    tip.style.top = `${y + 18 + height > innerHeight ? y - height - 10 : y + 18}px`;
  };
  const cellTip = (panel, event) => {
    const box = panel.querySelector("image")?.getBoundingClientRect();
    if (!box) return "";
    panel.matrix ??= JSON.parse(panel.dataset.matrix);
    const { rows, columns, values } = panel.matrix;
    const row = Math.floor(((event.clientY - box.top) / box.height) * values.length);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns.length);
    const value = values[row]?.[column];
    return value === undefined || value === null ? "" : `${panel.dataset.series}\n${rows[row]}, ${columns[column]}: ${value.toFixed(3)}`;
  };
  const markerTip = (panel, event) => {
    let [best, distance] = ["", 18];
    all("[data-tip]:not(.dim)", panel).forEach((marker) => {
      const box = marker.getBoundingClientRect();
      const away = Math.hypot(box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY);
      if (away < distance) [best, distance] = [marker.dataset.tip, away];
    });
    return best;
  };
  const tipAt = (event) => {
    const heading = event.target.closest("th[data-tip]");
    const panel = event.target.closest(".panel");
    let text = heading?.dataset.tip ?? "";
    if (panel) text = panel.dataset.matrix ? cellTip(panel, event) : markerTip(panel, event);
    place(text, event.clientX, event.clientY);
  };
  document.addEventListener("pointermove", tipAt);
  document.addEventListener("pointerdown", tipAt);
  document.addEventListener("scroll", () => place(""), { passive: true, capture: true });

  // Paper cannot be opened: show what is folded away, but for the long lists.
  addEventListener("beforeprint", () => all("#protocol details").forEach((details) => { details.open = true; }));
})();
