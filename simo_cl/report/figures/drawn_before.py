"""The figures that an earlier report drew, so that one that is the same is not drawn again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cloudpickle
import matplotlib
import numpy as np
from matplotlib.font_manager import FontProperties, findfont

import simo_cl.report
import simo_cl.results.styles
from simo_cl.report.drawing import STYLE
from simo_cl.report.svg import ENDINGS, PDF

_RECORDS = ".drawn"


@dataclass(frozen=True)
class Written:
    """A figure's files, and its panels by key as SVG elements for the page."""

    files: tuple[Path, ...]
    panels: Mapping[str, str]


class DrawnBefore:
    """What a folder holds of figures; with each a record of what it was drawn from.

    Files without a record are somebody else's and stay as they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def kept(self, name: str, key: str, *, pdf: bool) -> Written | None:
        """The figure, if its files are there and were drawn for the same key."""
        try:
            record = json.loads(self._record(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        files = self._files(name, *ENDINGS, *((PDF,) if pdf else ()))
        if record["key"] != key or not all(file.is_file() for file in files):
            return None
        return Written(files, record["panels"])

    def has_pdf(self, name: str) -> bool:
        """Whether it was drawn as PDF, too, which then stays up to date."""
        (pdf,) = self._files(name, PDF)
        return pdf.is_file() and self._record(name).is_file()

    def forget(self, name: str) -> None:
        """Before the figure's files are written: half-written ones have no record."""
        self._record(name).parent.mkdir(parents=True, exist_ok=True)
        self._record(name).unlink(missing_ok=True)

    def keep(self, name: str, key: str, written: Written) -> None:
        record = {"key": key, "panels": dict(written.panels)}
        self._record(name).write_text(json.dumps(record), encoding="utf-8")

    def remove_all_but(self, names: Collection[str]) -> None:
        for record in self._record("").parent.glob("*.json"):
            if record.stem not in names:
                for file in self._files(record.stem, *ENDINGS, PDF):
                    file.unlink(missing_ok=True)
                record.unlink()

    def _record(self, name: str) -> Path:
        return self.folder / _RECORDS / f"{name}.json"

    def _files(self, name: str, *endings: str) -> tuple[Path, ...]:
        return tuple(self.folder / f"{name}{ending}" for ending in endings)


def key_of(*content: object) -> str:
    """The same only for what gives the same picture: content, code, libraries and fonts alike.

    Args:
        content: that can be sent to another process.
    """
    return hashlib.sha256(_surroundings() + cloudpickle.dumps(content)).hexdigest()


@cache
def _surroundings() -> bytes:
    code = hashlib.sha256()
    drawing = sorted(Path(simo_cl.report.__file__).parent.rglob("*.py"))
    for file in [*drawing, Path(simo_cl.results.styles.__file__)]:
        code.update(file.read_bytes())
    font = findfont(FontProperties(family=STYLE["font.sans-serif"]))
    return repr((code.hexdigest(), matplotlib.__version__, np.__version__, font)).encode()
