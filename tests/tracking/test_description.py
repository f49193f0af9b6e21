from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import torch

from simo_cl.metrics.continual import continual_metrics
from simo_cl.metrics.geometry import geometry_metrics
from simo_cl.results import read_suite
from simo_cl.tracking import description

if TYPE_CHECKING:
    from conftest import SuiteMaker

SPACES = ("features", "features_centred", "embedding", "embedding_centred")
READ_OUTS = ("", "ncm_memory/", "ncm_oracle/", "linear_probe/", "knn/", "mlp_head/")
OTHERS = (
    *("new_class_accuracy", "old_class_accuracy", "forward_transfer", "train/loss"),
    *(f"cost/{name}" for name in ("steps", "images", "train_seconds", "evaluate_seconds")),
    *(f"{space}/drift/class_mean" for space in SPACES),
)


def all_metrics() -> list[str]:
    """What a run measures."""
    points = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    geometry = geometry_metrics(points, torch.arange(30) % 3)
    accuracies = continual_metrics(np.full((3, 3), 0.5))
    return [
        *(f"{space}/{name}" for space in SPACES for name in geometry),
        *(f"{read_out}{name}" for read_out in READ_OUTS for name in accuracies),
        *OTHERS,
    ]


def described(suite: SuiteMaker, metrics: list[str], **plan: str) -> str:
    suite.plan([("er", 0)], **plan)
    suite.run("er", 0, metrics=dict.fromkeys(metrics, 0.5))
    return description.of_a_suite(read_suite(suite.folder))


def is_explained(metric: str, note: str) -> bool:
    """Whether the tables have the metric, or both what comes before and after its first slash."""
    rows = re.findall(r"^\| `([^`]+)` \| .+ \|$", note, flags=re.MULTILINE)
    prefix, _, rest = metric.partition("/")
    return metric in rows or (f"{prefix}/..." in rows and rest in rows)


def test_every_metric_is_explained(suite_without_store: SuiteMaker) -> None:
    metrics = all_metrics()
    note = described(suite_without_store, metrics)
    assert [metric for metric in metrics if not is_explained(metric, note)] == []
    assert not is_explained("features/unheard_of", note)


def test_what_is_not_measured_is_not_explained(suite_without_store: SuiteMaker) -> None:
    note = described(suite_without_store, [])
    assert is_explained("average_accuracy", note)
    assert "knn" not in note


def test_the_description_fits_whatever_the_suites_own_is(suite_without_store: SuiteMaker) -> None:
    assert len(described(suite_without_store, all_metrics())) < 5000
    assert len(described(suite_without_store, all_metrics(), description="long " * 2000)) <= 5000


def test_it_says_what_made_it(suite_without_store: SuiteMaker) -> None:
    note = described(suite_without_store, [])
    assert note.startswith("A suite of made-up numbers.")
    for part in ("Data: made up.", "`simo-cl run benchmarks/tiny.yaml`", "Control: er."):
        assert part in note


def test_a_strategy_without_a_finished_seed_says_so() -> None:
    assert description.of_a_strategy("er", [], 3) == "`er`: none of 3 seeds has finished."


def test_a_finished_seed_says_whether_there_is_a_model(suite_without_store: SuiteMaker) -> None:
    suite_without_store.plan([("er", 0)])
    suite_without_store.run("er", 0)
    (run,) = read_suite(suite_without_store.folder).runs
    assert "Logged models" in description.of_a_seed(run, has_model=True)
    assert "No model: log.txt" in description.of_a_seed(run, has_model=False)


def test_a_failed_seed_says_why(suite_without_store: SuiteMaker) -> None:
    suite_without_store.plan([("er", 0)])
    suite_without_store.run("er", 0, state="failed", message="no memory")
    (run,) = read_suite(suite_without_store.folder).runs
    assert description.of_a_seed(run, has_model=False) == (
        "Failed: FloatingPointError: no memory (error.txt, log.txt)"
    )
