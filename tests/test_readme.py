"""The README's code runs as it is printed."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import torch
from processes import run_script

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_avalanche_script_runs_and_logs_to_mlflow(tmp_path: Path) -> None:
    script = code_blocks("python")[0]
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    finished = run_script(["script.py"], tmp_path)

    assert finished.returncode == 0, finished.stderr
    values = [float(line) for line in finished.stdout.splitlines() if re.fullmatch(r"[\d.]+", line)]
    assert len(values) == 5
    assert all(0 <= value <= 1 for value in values)
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        (experiments,) = store.execute(
            "select count(*) from experiments where name = 'mine'"
        ).fetchone()
        keys = {key for (key,) in store.execute("select distinct key from metrics")}
    assert experiments == 1
    assert "features/orthogonality/mean_abs_cos" in keys
    assert any(key.startswith("avalanche/") for key in keys)


def test_the_loss_takes_embeddings_and_labels() -> None:
    scope = {"embeddings": torch.randn(8, 4), "labels": torch.arange(8) % 2}

    exec(code_blocks("python")[1], scope)

    assert scope["loss"].shape == ()
