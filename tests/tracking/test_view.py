from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from simo_cl.tracking.view import chart_view_url, comparison_view

METRICS = [
    "train/loss",
    "features/orthogonality/mean_abs_cos",
    "forgetting",
    "average_accuracy",
    "zeal",
    "min_accuracy",
]


def state_of(view: str) -> dict[str, Any]:
    packed = json.loads(view)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def test_an_overview_comes_first() -> None:
    state = state_of(comparison_view(METRICS))
    assert [section["name"] for section in state["compareRunSections"]] == [
        "Strategies compared",
        "Accuracy matrices",
        "Model metrics",
        "Differences",
        "features/orthogonality",
        "train",
    ]
    assert [(chart["type"], chart.get("metricKey")) for chart in state["compareRunCharts"]] == [
        ("BAR", "average_accuracy"),
        ("BAR", "forgetting"),
        ("LINE", "average_accuracy"),
        ("LINE", "forgetting"),
        ("SCATTER", None),
        ("IMAGE", None),
        ("DIFFERENCE", None),
    ]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= sections
    assert state["runsHiddenMode"] == "SHOW_ALL"


def test_charts_are_wide_enough_for_their_titles() -> None:
    sections = state_of(comparison_view(METRICS))["compareRunSections"]
    columns = {section["name"]: section["columns"] for section in sections}
    assert columns.pop("Accuracy matrices") == columns.pop("Differences") == 1
    assert set(columns.values()) == {2}


def test_several_suites_are_shown_in_the_view_of_the_first() -> None:
    assert chart_view_url("http://host", "7", "3") == (
        "http://host/#/compare-experiments/s?experiments=%5B%227%22%2C%223%22%5D"
        "&workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey=simo_cl"
    )


def test_a_chart_has_the_metrics_it_needs() -> None:
    def axes(metrics: list[str]) -> list[str]:
        charts = state_of(comparison_view(metrics))["compareRunCharts"]
        return [chart["xaxis"]["key"] for chart in charts if chart["type"] == "SCATTER"]

    assert axes(METRICS) == ["forgetting"]
    assert axes([*METRICS, "cost/train_seconds"]) == ["forgetting", "cost/train_seconds"]
    assert axes(["forgetting", "cost/train_seconds"]) == []


def test_differences_are_taken_from_the_baseline() -> None:
    differences = state_of(comparison_view(METRICS, "run 7"))["compareRunCharts"][-1]
    assert differences["baselineColumnUuid"] == "run 7"


def test_the_same_metrics_give_the_same_view() -> None:
    assert comparison_view(METRICS) == comparison_view(reversed(METRICS))


def test_many_metrics_fit_into_a_tag() -> None:
    """MLflow's first versions of such tags took 5000 characters."""
    spaces = ("features", "features_centred", "embedding", "embedding_centred")
    names = [f"{space}/part{i % 4}/measure_{i}" for space in spaces for i in range(99)]
    assert len(comparison_view(names + METRICS)) < 5000


def test_the_address_names_the_view() -> None:
    assert chart_view_url("http://127.0.0.1:5000/", "7") == (
        "http://127.0.0.1:5000/#/experiments/7/runs?workflowType=machine_learning"
        "&compareRunsMode=CHART&viewStateShareKey=simo_cl"
    )
