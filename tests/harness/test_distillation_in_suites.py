"""The setting distill of contrastive strategies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import ONLINE, SETTINGS, SHIPPED, STRATEGIES, planned

from simo_cl.harness.contrastive import ContrastiveSettings
from simo_cl.harness.strategy_files import load_strategy
from simo_cl.harness.suite_file import SuiteError


def test_every_contrastive_strategy_can_distil() -> None:
    settings = {name: load_strategy(name, STRATEGIES).module.Settings for name in SHIPPED}
    contrastive = {n for n, kind in settings.items() if issubclass(kind, ContrastiveSettings)}
    assert contrastive >= {"simo", "supcon", "triplet", "metric_loss"}
    for name in contrastive:
        without, distilling = settings[name](), settings[name](distill="ird", distill_weight=0.5)
        assert without.plugins() == []
        (plugin,) = distilling.plugins()
        assert (plugin.weight, plugin.temperature, plugin.past_temperature) == (0.5, 0.2, 0.01)


def test_co2l_distils_always() -> None:
    (plugin,) = load_strategy("co2l", STRATEGIES).module.Settings().plugins()
    assert plugin.weight == 1.0


@pytest.mark.parametrize("protocol", ["batch", "online"])
def test_it_changes_the_experiences_after_the_first(
    protocol: str, execute: Any, tmp_path: Path
) -> None:
    losses = []
    for given in ("", "{distill: ird}"):
        text = ONLINE if protocol == "online" else SETTINGS
        suite = f"strategies: {{supcon: {given}}}\n"
        runs = planned(tmp_path / f"{bool(given)}", suite, settings=text)
        execute(runs, tmp_path)
        lines = (tmp_path / runs[0].folder / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["metrics"]["train/loss"] for line in lines])
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] < losses[1][1]


@pytest.mark.parametrize(
    ("given", "overrides", "message"),
    [
        (
            "{joint: true, distill_weight: 5}",
            (),
            "distill_weight: 5.0 would do nothing, as joint is true",
        ),
        (
            "{distill_past_temperature: 0.1}",
            ("stream.experiences=1",),
            "distill_past_temperature: 0.1 would do nothing, as stream.experiences is 1",
        ),
    ],
)
def test_co2l_is_refused_what_would_do_nothing(
    given: str, overrides: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match=message):
        planned(tmp_path, f"strategies: {{co2l: {given}}}\n", overrides)


def test_co2l_without_distillation_may_be_joint(tmp_path: Path) -> None:
    assert planned(tmp_path, "strategies: {co2l: {joint: true, distill_weight: 0}}\n")


@pytest.mark.parametrize(
    ("given", "overrides", "message"),
    [
        (
            "{distill_weight: 2, distill_temperature: 0.1}",
            (),
            "distill_temperature, distill_weight would do nothing without distill: ird; set it",
        ),
        (
            "{distill: ird}",
            ("stream.experiences=1",),
            "distill: ird would do nothing, as stream.experiences is 1",
        ),
        ("{distill: ird, joint: true}", (), "distill: ird would do nothing, as joint is true"),
        ("{distill: lwf}", (), "distill"),
    ],
)
def test_what_would_do_nothing_is_refused(
    given: str, overrides: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match=message):
        planned(tmp_path, f"strategies: {{simo: {given}}}\n", overrides)
