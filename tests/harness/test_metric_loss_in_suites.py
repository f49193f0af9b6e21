"""The strategy metric_loss: what a suite may say, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import planned

from simo_cl.harness.suite_file import SuiteError


def test_arguments_are_numbers_texts_and_truth_values(tmp_path: Path) -> None:
    given = "{margin: 1e-1, smooth_loss: yes, swap: no, triplets_per_anchor: all}"
    suite = f"strategies:\n  metric_loss: {{loss: TripletMarginLoss, arguments: {given}}}\n"
    (run,) = planned(tmp_path, suite)
    arguments = run.settings.settings["arguments"]
    assert arguments == {
        "margin": 0.1,
        "smooth_loss": True,
        "swap": False,
        "triplets_per_anchor": "all",
    }
    assert [type(value) for value in arguments.values()] == [float, bool, bool, str]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{loss: TripletLoss}", r"tiny.yaml:\d+: .*has no TripletLoss; it has .*TripletMarginLoss"),
        (
            "{loss: ArcFaceLoss, arguments: {marginn: 1}}",
            r"tiny.yaml:\d+: .*ArcFaceLoss cannot be made of .*unexpected keyword.*'marginn'",
        ),
        ("{miner: Semihard}", r"tiny.yaml:\d+: .*has no Semihard; it has .*TripletMarginMiner"),
        (
            "{loss: ArcFaceLoss, arguments: {margin: [1]}}",
            r"tiny.yaml:\d+: .*arguments.margin is \[1\]: must be a number, a text, or true or",
        ),
        *(
            (
                f"{{loss: ArcFaceLoss, arguments: {{margin: {number}}}}}",
                "arguments.margin is .*: must be a number, .* and neither NaN nor infinite",
            )
            for number in (".nan", "nan", "-.inf", "Infinity", "1e999")
        ),
        ("{loss: VICRegLoss}", "VICRegLoss cannot be computed of embeddings and labels alone"),
    ],
)
def test_what_cannot_run_is_refused_with_its_line(
    settings: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match=message):
        planned(tmp_path, f"strategies:\n  metric_loss: {settings}\n")
