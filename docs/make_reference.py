"""Write a reference of all public names, from their docstrings: ``make docs``."""

from __future__ import annotations

from pathlib import Path

import pdoc

import simo_cl

MODULES = (
    "simo_cl",
    "simo_cl.losses",
    "simo_cl.metrics.continual",
    "simo_cl.metrics.geometry",
    "simo_cl.models",
    "simo_cl.register",
    "simo_cl.results",
    "simo_cl.strategy",
    "simo_cl.streams",
    "simo_cl.training",
)


def main() -> None:
    # pdoc looks for names that are there already.
    vars(simo_cl).update({name: getattr(simo_cl, name) for name in simo_cl.__all__})
    pdoc.render.configure(docformat="google", show_source=False)
    folder = Path(__file__).resolve().parents[1] / "build" / "docs"
    pdoc.pdoc(*MODULES, output_directory=folder)
    print(f"Open {folder / 'index.html'}")


if __name__ == "__main__":
    main()
