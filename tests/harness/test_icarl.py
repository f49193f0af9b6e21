"""The read-out of our iCaRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.models import NCMClassifier
from tiny import STRATEGIES, part_of_digits, planned

from simo_cl.harness.execute_run import execute_run
from simo_cl.harness.strategy_files import load_strategy
from simo_cl.models import UNSEEN_CLASS_SCORE
from simo_cl.results import RunFolder

NearestExemplarMean: Any = load_strategy("icarl", STRATEGIES).module.NearestExemplarMean


def test_a_class_without_a_mean_is_never_the_answer() -> None:
    means = {0: torch.tensor([1.0, 0, 0]), 1: torch.zeros(3), 2: torch.tensor([0, 1.0, 0])}
    stock, ours = NCMClassifier(normalize=True), NearestExemplarMean(normalize=True)
    stock.replace_class_means_dict(means)
    ours.replace_class_means_dict(means)
    # The first two are farther than 60 degrees from each mean.
    features = torch.tensor([[-1.0, -2, 0], [0.1, 0.2, 5], [3, 0, 0.1], [0, 2, 1]])
    assert stock(features).argmax(1).tolist() == [1, 1, 0, 2]
    assert ours(features).argmax(1).tolist() == [0, 2, 0, 2]
    torch.testing.assert_close(ours(features)[:, [0, 2]], stock(features)[:, [0, 2]])
    assert (ours(features)[:, 1] == UNSEEN_CLASS_SCORE).all()


def test_without_any_mean_the_scores_are_finite() -> None:
    classifier = NearestExemplarMean(normalize=True)
    classifier.max_class = 2
    assert (classifier(torch.ones(2, 4)) == UNSEEN_CLASS_SCORE).all()


def test_the_strategy_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[Any] = []
    monkeypatch.setattr(
        "simo_cl.harness.execute_run.export_model", lambda model, *rest: models.append(model)
    )
    (run,) = planned(tmp_path, "strategies: {icarl: }\n")
    folder = RunFolder(tmp_path / run.folder)
    execute_run(run, part_of_digits(), folder, torch.device("cpu"), lambda *step: None)
    read_out = models[0].eval_classifier
    assert type(read_out).__name__ == "NearestExemplarMean"
    assert read_out.class_means.any(dim=1).tolist() == [True] * 10
