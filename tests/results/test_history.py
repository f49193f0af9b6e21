from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from simo_cl.results.history import Measured, read_history


def line(experience: int, **metrics: Any) -> str:
    return json.dumps({"experience": experience, "time": 1.0, "metrics": metrics}) + "\n"


def history(folder: Path, text: str, *, is_finished: bool = True) -> tuple[list[float], str]:
    (folder / "metrics.jsonl").write_text(text)
    measured, fault = read_history(folder, is_finished=is_finished)
    return [each.metrics["accuracy"] for each in measured], fault


def test_a_line_is_read_as_it_was_written(tmp_path: Path) -> None:
    measured = Measured(experience=0, time=2.5, metrics={"accuracy": 0.5})
    (tmp_path / "metrics.jsonl").write_text(measured.line() + "\n")
    assert read_history(tmp_path, is_finished=True) == ((measured,), "")


def test_undefined_values_are_apart(tmp_path: Path) -> None:
    text = '{"experience": 0, "time": 1, "metrics": {"a": 1, "b": NaN, "c": Infinity, "d": null}}'
    measured = Measured.model_validate_json(text)
    assert measured.metrics == {"a": 1.0}
    assert measured.undefined.keys() == {"b", "c", "d"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        Measured(experience=0, time=1.0, metrics={"b": math.nan}).line()


def test_a_line_that_is_being_written_is_awaited(tmp_path: Path) -> None:
    text = line(0, accuracy=0.5) + '{"experience": 1, "ti'
    assert history(tmp_path, text, is_finished=False) == ([0.5], "")
    accuracies, fault = history(tmp_path, text)
    assert accuracies == [0.5]
    assert fault.startswith("line 2 of metrics.jsonl cannot be read: Invalid JSON")


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ("not json\n", "line 2 of metrics.jsonl cannot be read: Invalid JSON"),
        ("[]\n", "line 2 of metrics.jsonl cannot be read: Input should be an object"),
        (line(1, accuracy="much"), "metrics.accuracy: Input should be a valid number"),
        (line(3, accuracy=0.3), "line 2 of metrics.jsonl is of experience 3"),
    ],
)
@pytest.mark.parametrize("is_finished", [True, False])
def test_what_precedes_a_broken_line_is_kept(
    bad: str, fault: str, is_finished: bool, tmp_path: Path
) -> None:
    text = line(0, accuracy=0.5) + bad + line(2, accuracy=0.4)
    accuracies, said = history(tmp_path, text, is_finished=is_finished)
    assert accuracies == [0.5]
    assert fault in said


def test_a_run_that_has_not_finished_may_have_none(tmp_path: Path) -> None:
    assert read_history(tmp_path, is_finished=False) == ((), "")
    assert "cannot be read" in read_history(tmp_path, is_finished=True)[1]
    assert history(tmp_path, "") == ([], "metrics.jsonl is empty")
