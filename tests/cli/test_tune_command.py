from __future__ import annotations

import json

import pytest
import yaml
from project import Project

from simo_cl.strategy import LEARNING_RATES


def test_tune_draws_trials_and_prints_the_best_for_the_suite(project: Project) -> None:
    suite = project.suite("simo")
    arguments = ("tune", suite, "--strategy", "er", "--trials", "2")

    first = project.call(*arguments)
    again = project.call(*arguments)

    assert first.exit_code == 0, first.output
    content = json.loads((project.results / "tiny" / "tuning" / "er.json").read_text())
    scores = [trial["average_accuracy"] for trial in content["trials"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert content["run"]["stream"]["evaluate_on"] == "validation"
    lowest, highest = min(LEARNING_RATES), max(LEARNING_RATES)
    ends = {lowest: {"lr": "smallest"}, highest: {"lr": "largest"}}
    assert content["edges"] == ends.get(content["trials"][0]["lr"], {})
    assert ("a better one may lie beyond" in first.output) == bool(content["edges"])
    best = yaml.safe_load(first.output.partition("put into the suite:")[2])
    assert best == {"er": {"lr": content["trials"][0]["lr"]}}
    assert "4 of 4 runs are finished already." in again.output
    assert not (project.results / "tiny" / "plan.json").exists()


def test_tune_says_when_every_trial_failed(project: Project) -> None:
    result = project.call("tune", project.suite("er"), "--strategy", "raises", "--trials", "2")

    assert result.exit_code == 1
    assert "Every trial failed" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--strategy err --trials 1",
            "--strategy: 'err' is no entry of .*tiny.yaml, which has er, and no strategy in .*"
            "strategies. Did you mean 'er'?",
        ),
        ("--strategy er --trials 7", "--trials is 7; the search space of 'er' has 6 points"),
        ("--strategy er --trials 1 --set data.name=digit", "data.name is 'digit', which is no"),
        (
            "--strategy er --trials 1 --set seeds=[1000000]",
            "1000000, and those from 1000000 on are the seeds",
        ),
    ],
)
def test_what_cannot_be_tuned_is_explained(project: Project, options: str, message: str) -> None:
    result = project.call("tune", project.suite("er"), *options.split())

    assert result.exit_code == 2
    assert all(part in result.output for part in message.split(".*"))
    assert not project.results.exists()


def test_a_user_s_own_data_and_encoder_are_used(project: Project) -> None:
    options = ("--strategy", "er", "--trials", "1", *project.plugin("own"))

    result = project.call("tune", project.suite("er"), *options)

    assert result.exit_code == 0, result.output
    content = json.loads((project.results / "tiny" / "tuning" / "er.json").read_text())
    assert content["run"]["data"] == {"name": "own_data"}
    assert content["run"]["model"]["encoder"] == "own_encoder"
