from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from simo_cl import register
from simo_cl.metrics.described import METRICS, READ_OUTS

NAMES = ("own", "features", "embedding_centred", "cost", "", "knn/mine", "accuracy (%)")


@pytest.mark.parametrize("name", NAMES)
def test_names_that_results_are_made_of_are_reserved(name: str) -> None:
    with pytest.raises(ValueError, match="a read-out cannot be called"):
        register.read_out(name, meaning="Mine.", fitted_on="oracle")
    with pytest.raises(ValueError, match="a metric cannot be called"):
        register.metric(name, of="accuracies", meaning="Mine.", unit="0..1")


def test_a_figure_s_files_have_its_name() -> None:
    with pytest.raises(ValueError, match=r"a figure cannot be called '\.\.'"):
        register.figure("..", title="Mine", caption="Mine.")
    with pytest.raises(ValueError, match=r"a figure cannot be called '\.\./mine'"):
        register.figure("../mine", title="Mine", caption="Mine.")


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda choice: _metric(of=choice), "of is 'embedings'.* Did you mean 'embeddings'"),
        (lambda choice: _metric(direction=choice), "direction is 'embedings'; it is one of 'up'"),
        (
            lambda choice: register.read_out("mine", meaning="", fitted_on=choice),
            "fitted_on is 'embedings'; it is one of 'memory', 'oracle'",
        ),
        (
            lambda choice: register.figure("mine", title="", caption="", section=choice),
            "section is 'embedings'; it is one of .*",
        ),
    ],
)
def test_a_choice_that_there_is_not_is_refused(give: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        give("embedings")


def _metric(**settings: Any) -> Any:
    return register.metric("mine", **{"of": "embeddings", "meaning": "", "unit": "", **settings})


def test_other_names_are_taken() -> None:
    register.read_out("mine", meaning="Mine.", fitted_on="oracle")(lambda *points: points[1])
    register.metric("mine", of="accuracies", meaning="Mine.", unit="0..1")(lambda A: 1.0)

    assert READ_OUTS["mine"].fitted_on == "oracle"
    assert METRICS["mine"].family == "continual"


def test_it_is_there_after_the_package_is_imported() -> None:
    code = "import sys, simo_cl; simo_cl.register.metric; sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
