from __future__ import annotations

import subprocess
import sys

from tiny import ROOT
from typer.testing import CliRunner

import simo_cl
from simo_cl.cli import app

HEAVY = ("torch", "avalanche", "mlflow", "matplotlib", "pandas", "sklearn", "scipy")


def test_help_and_list_import_no_heavy_library() -> None:
    program = """
import sys
from simo_cl.cli import app

commands = ["run", "report", "sync", "ui", "tune", "init", "list", "data", "doctor", "check"]
for words in ("", *commands, "data check", "data fetch"):
    app([*words.split(), "--help"], standalone_mode=False)
app(["list"], standalone_mode=False)
print("imported:", *sorted(name for name in sys.modules if "." not in name))
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert finished.returncode == 0, finished.stderr
    imported = finished.stdout.rpartition("imported:")[2].split()
    assert "typer" in imported
    assert not set(HEAVY) & set(imported)


def test_flags_show_no_type_and_h_and_version_are_known() -> None:
    runner = CliRunner()

    for words in (
        ["-h"],
        ["run", "-h"],
        ["run", "--help"],
        ["data", "-h"],
        ["data", "check", "-h"],
    ):
        result = runner.invoke(app, words, env={"COLUMNS": "100"})
        assert result.exit_code == 0
        assert "Show this message" in result.output
        assert "bool" not in result.output
    assert runner.invoke(app, ["--version"]).output == f"simo-cl {simo_cl.__version__}\n"
