from __future__ import annotations

from pathlib import Path

import pytest

from simo_cl.harness.check_parts import is_strategy
from simo_cl.harness.suite_file import SuiteError

ENCODER = '@register.encoder("mine")\ndef build(channels, width, norm):\n    pass\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def build(setup, settings):\n    pass\n", True),
        ("def build (setup: int, settings: int) -> int:\n    pass\n", True),
        (ENCODER, False),
        ("def build(channels, width, norm):\n    pass\n", False),
        ('TEXT = """\ndef build(setup, settings):\n"""\n', False),
        ("class A:\n    def build(self, settings):\n        pass\n", False),
    ],
)
def test_a_strategy_has_a_build_of_setup_and_settings(
    tmp_path: Path, text: str, expected: bool
) -> None:
    (tmp_path / "mine.py").write_text(text)

    assert is_strategy(tmp_path / "mine.py") is expected


def test_a_file_that_is_no_python_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\ndef build(:\n")

    with pytest.raises(SuiteError, match=r"mine\.py is no Python: SyntaxError.*mine.py, line 2"):
        is_strategy(tmp_path / "mine.py")
