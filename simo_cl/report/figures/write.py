"""The files of figures, drawn on all cores, and only of figures that have changed."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cloudpickle
import matplotlib
import numpy as np
from joblib import cpu_count
from matplotlib.font_manager import FontProperties, findfont

import simo_cl.report
import simo_cl.results.styles
from simo_cl.child_process import (
    end_with_parent,
    import_ahead,
    interrupts_blocked,
    main_left_out,
    process_context,
)
from simo_cl.report.drawing import STYLE
from simo_cl.report.figures.figure import Figure, draw_sheet, drawing_style
from simo_cl.report.svg import ENDINGS, PDF, cut_panel, drawing_of, save_files
from simo_cl.results import Suite
from simo_cl.results.styles import styles

_RECORDS = ".drawn"
# Fewer are drawn before a process has begun.
_FIGURES_WORTH_A_PROCESS = 4

Progress = Callable[[int, int], None]
"""Told how many figures of how many have been drawn."""


@dataclass(frozen=True)
class Written:
    """A figure's files, and its panels by key as SVG elements for the page."""

    files: tuple[Path, ...]
    panels: Mapping[str, str]


def write_figures(
    suite: Suite,
    figures: Sequence[Figure],
    within: str = "figures",
    *,
    pdf: bool = False,
    keep: Collection[str] = (),
    progress: Progress = lambda drawn, of: None,
) -> dict[str, Written]:
    """Write every figure that has changed as SVG and PNG, on all cores.

    Files of figures that an earlier report wrote and this one does not have go.

    Args:
        within: the folder, relative to the suite's.
        pdf: write PDF, too; one that was written before is kept up to date in any case.
        keep: figures of an earlier report whose files stay, as they are.

    Returns:
        What was written, now or before, by the figure's name.
    """
    folder = suite.folder / within
    _remove_all_but(folder, {figure.name for figure in figures} | set(keep))
    drawn_as = styles(suite)
    # Those with the most panels first, so that no core waits for one that began last.
    in_order = sorted(figures, key=lambda figure: -len(figure.panels))
    drawings = [
        _Drawing(folder, figure.name, cloudpickle.dumps((figure, drawn_as)), pdf, figure.own)
        for figure in in_order
    ]
    written = {each.name: kept for each in drawings if (kept := each.kept())}
    changed = [each for each in drawings if each.name not in written]
    processes = min(len(changed) // _FIGURES_WORTH_A_PROCESS, cpu_count())
    made = _written_in(processes, changed) if processes > 1 else ((d, d.write()) for d in changed)
    for count, (drawing, result) in enumerate(made, start=1):
        written[drawing.name] = result
        progress(count, len(changed))
    return {figure.name: written[figure.name] for figure in figures}


def own_figures(folder: Path) -> set[str]:
    """Those that reports wrote into the folder, and that files of the user's had registered."""
    names = set()
    for record in (folder / _RECORDS).glob("*.json"):
        with suppress(OSError, ValueError):
            is_own = json.loads(record.read_text(encoding="utf-8")).get("own", False)
            if is_own and _files(folder, record.stem, ENDINGS[0])[0].is_file():
                names.add(record.stem)
    return names


@dataclass(frozen=True)
class _Drawing:
    """A figure that is to be in a folder, with a record there of what it was drawn from.

    Attributes:
        content: the figure and the styles of rows, for another process.
        pdf: whether it is to be PDF, too.
        own: whether a file of the user's has registered the figure.
    """

    folder: Path
    name: str
    content: bytes
    pdf: bool
    own: bool

    def kept(self) -> Written | None:
        """The figure, if its files are there and were drawn from the same."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        files = _files(self.folder, self.name, *ENDINGS, *([PDF] if self._with_pdf else []))
        if record["key"] != self._key or not all(file.is_file() for file in files):
            return None
        return Written(files, record["panels"])

    def write(self) -> Written:
        figure, drawn_as = pickle.loads(self.content)
        with_pdf = self._with_pdf
        with drawing_style():
            sheet, places = draw_sheet(figure, drawn_as)
            drawing = drawing_of(sheet)
            # Half-written files have no record.
            self._record.parent.mkdir(parents=True, exist_ok=True)
            self._record.unlink(missing_ok=True)
            files = save_files(sheet, drawing, self.folder / self.name, pdf=with_pdf)
        panels = {
            panel.key: cut_panel(
                drawing, panel.gid, places[panel.key], f"{self.name}-{panel.key}", panel.alternative
            )
            for panel in figure.panels
        }
        record = {"key": self._key, "own": self.own, "panels": panels}
        self._record.write_text(json.dumps(record), encoding="utf-8")
        return Written(files, panels)

    @property
    def _record(self) -> Path:
        return self.folder / _RECORDS / f"{self.name}.json"

    @property
    def _with_pdf(self) -> bool:
        """One that was drawn before stays up to date; a PDF without a record is somebody else's."""
        (pdf,) = _files(self.folder, self.name, PDF)
        return self.pdf or (pdf.is_file() and self._record.is_file())

    @property
    def _key(self) -> str:
        """The same only for what gives the same picture."""
        return hashlib.sha256(_surroundings() + self.content).hexdigest()


def _written_in(processes: int, drawings: Sequence[_Drawing]) -> Iterator[tuple[_Drawing, Written]]:
    """Writes them in so many processes, and gives each as it is written."""
    import_ahead("simo_cl.report.figures")
    pool = ProcessPoolExecutor(processes, process_context(), initializer=end_with_parent)
    try:
        with interrupts_blocked(), main_left_out():  # figures go by value
            asked = {pool.submit(drawing.write): drawing for drawing in drawings}
        for written in as_completed(asked):
            yield asked[written], written.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _remove_all_but(folder: Path, names: set[str]) -> None:
    """Files without a record are somebody else's and stay as they are."""
    for record in (folder / _RECORDS).glob("*.json"):
        if record.stem not in names:
            for file in (*_files(folder, record.stem, *ENDINGS, PDF), record):
                file.unlink(missing_ok=True)


def _files(folder: Path, name: str, *endings: str) -> tuple[Path, ...]:
    return tuple(folder / f"{name}{ending}" for ending in endings)


@cache
def _surroundings() -> bytes:
    """What else decides the picture: code, libraries and fonts."""
    code = hashlib.sha256()
    drawing = sorted(Path(simo_cl.report.__file__).parent.rglob("*.py"))
    for file in [*drawing, Path(simo_cl.results.styles.__file__)]:
        code.update(file.read_bytes())
    font = findfont(FontProperties(family=STYLE["font.sans-serif"]))
    return repr((code.hexdigest(), matplotlib.__version__, np.__version__, font)).encode()
