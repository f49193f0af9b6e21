from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os
from pathlib import Path

from simo_cl.report.figures import write, write_figures
from simo_cl.report.figures.own import own_figure
from simo_cl.results import load_suite

write.cpu_count = lambda: 2
NAME = "by"


def draw(suite, axes):
    Path(f"{NAME}-{os.getpid()}").touch()


print("process", os.getpid())
suite = load_suite(Path("suite"))
makers = [own_figure(f"mine{n}", "Mine", "Of a script.", "cost", draw) for n in range(8)]
print("written", len(write_figures(suite, [make(suite) for make in makers])))
"""


def test_processes_that_draw_do_not_execute_the_user_s_script(make_suite, tmp_path: Path) -> None:
    """It has no ``if __name__ == "__main__"``, which only processes would need."""
    folder = make_suite(strategies=("er",), seeds=(0,), experiences=2, sample=4)
    (tmp_path / "script.py").write_text(SCRIPT.replace('Path("suite")', f"Path({str(folder)!r})"))

    said = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stderr
    process, written = said.stdout.splitlines()
    assert written == "written 8"
    drawn_by = {path.name.removeprefix("by-") for path in tmp_path.glob("by-*")}
    assert drawn_by
    assert process.removeprefix("process ") not in drawn_by
