// Tables: sort by a heading; copy as CSV or LaTeX, in the order and with the rows that are shown.
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
  const [known, unknown] = [true, false].map((has) => rows.filter((row) => (valueOf(row, column) !== undefined) === has));
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

const PARTS = { deviation: "std", low: "low", high: "high" };
const columnsOf = (table, rows) => [...table.tHead.rows[0].cells].filter((th) => !th.matches(".strip-head")).map((th) => ({
  at: th.cellIndex,
  name: th.textContent.replaceAll("\u00a0", " ").trim(),
  parts: Object.keys(PARTS).filter((part) => rows.some((row) => part in (row.cells[th.cellIndex]?.dataset ?? {}))),
}));
const shownRows = (table) => all("tbody tr:not(.off)", table);

const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const csvOf = (table) => {
  const rows = shownRows(table).filter((row) => !row.matches(".group"));
  const columns = columnsOf(table, rows);
  const head = columns.flatMap(({ name, parts }) => {
    const plain = name.replace(/\s*[↑↓]/, "");
    return [plain, ...parts.map((part) => `${plain} ${PARTS[part]}`)];
  });
  const lines = rows.map((row) => columns.flatMap(({ at, parts }) => ["value", ...parts].map((part) => row.cells[at].dataset[part] ?? "")));
  return [head, ...lines].map((line) => line.map(quoted).join(",")).join("\n") + "\n";
};

const SYMBOLS = {
  "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\u00a0": "~",
  "−": "$-$", "±": "$\\pm$", "×": "$\\times$", "·": "$\\cdot$", "|": "$|$", "<": "$<$", ">": "$>$",
  "↑": "$\\uparrow$", "↓": "$\\downarrow$", "²": "\\textsuperscript{2}", "ε": "$\\varepsilon$",
};
const escaped = (text) => text.replace(/[\\~^\u00a0−±×·|<>↑↓²ε]|[&%$#_{}]/g, (c) => SYMBOLS[c] ?? `\\${c}`);
const texOfCell = (cell) => {
  const text = cell.textContent.replace(/\s+/g, " ").trim();
  if (!/^[-+−±\d.,\s[\]<]*\d[-+−±\d.,\s[\]<]*$/.test(text)) return escaped(text);
  const numbers = text.replaceAll("−", "-").replaceAll("±", "\\pm").replaceAll(" [", "\\ [").replace(/(\d),(?=\d{3})/g, "$1{,}");
  return `$${"bold" in cell.dataset ? numbers.replace(/^\S+/, (mean) => `\\mathbf{${mean}}`) : numbers}$`;
};
const texOf = (table) => {
  const rows = shownRows(table);
  const columns = columnsOf(table, rows);
  const line = (cells) => `    ${cells.join(" & ")} \\\\`;
  const body = rows.flatMap((row, index) => {
    if (!row.matches(".group")) return [line(columns.map(({ at }) => (row.cells[at] ? texOfCell(row.cells[at]) : "")))];
    if (table.classList.contains("sorted")) return [];
    const [title, note] = [row.cells[0].firstChild, row.cells[0].querySelector("small")].map((part) => escaped(part?.textContent.trim() ?? ""));
    const heading = `    \\multicolumn{${columns.length}}{l}{${[`\\emph{${title}}`, note].filter(Boolean).join(" ")}} \\\\`;
    return index ? ["    \\midrule", heading] : [heading];
  });
  const { caption, note, key } = table.dataset;
  const sentences = [caption, note].filter(Boolean).map((text) => `${escaped(text)}.`);
  return [
    "% \\usepackage{booktabs}",
    "\\begin{table}",
    "  \\centering",
    `  \\caption{${sentences.join(" ")}}`,
    `  \\label{tab:${key}}`,
    `  \\begin{tabular}{l${"r".repeat(columns.length - 1)}}`,
    "    \\toprule",
    line(columns.map(({ name }) => escaped(name))),
    "    \\midrule",
    ...body,
    "    \\bottomrule",
    "  \\end{tabular}",
    "\\end{table}",
  ].join("\n") + "\n";
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
const WRITERS = { csv: csvOf, latex: texOf };
all("button[data-copy]").forEach((button) => button.addEventListener("click", () => {
  copy(button, WRITERS[button.dataset.copy](button.closest(".table").querySelector("table")));
}));
all("button.copy-text").forEach((button) => button.addEventListener("click", () => copy(button, button.previousElementSibling.textContent)));
