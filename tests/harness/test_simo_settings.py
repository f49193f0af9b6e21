"""What the settings of the strategy simo refuse together, when a suite is planned."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import planned

from simo_cl.harness.suite_file import SuiteError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("form: kernel, leaning: 0.5", "simo: leaning must be below 0.5 in form=.kernel., .* 0.5"),
        ("bias: 0.1", "simo: bias is of form=.kernel. alone, got bias=0.1 in form='pairwise'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    settings: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match=message):
        planned(tmp_path, f"strategies:\n  simo: {{{settings}}}\n")


def test_the_recipe_of_the_authors_can_be_planned(tmp_path: Path) -> None:
    recipe = "form: kernel, epsilon: 0.0073, leaning: 0.0073, reduction: sum, bias: 0.1"
    (run,) = planned(tmp_path, f"strategies:\n  simo: {{{recipe}}}\n")

    assert run.settings.settings["form"] == "kernel"
    assert run.settings.settings["reduction"] == "sum"
