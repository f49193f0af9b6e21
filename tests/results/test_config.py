from __future__ import annotations

from pathlib import Path

import pytest

from simo_cl.results import flat_settings, read_config
from simo_cl.results.config import write_config


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    config = {"strategy": "simo", "seed": 0, "memory": {"size": 40}, "settings": {"lr": 0.1}}
    write_config(tmp_path, config)
    assert read_config(tmp_path) == config


def test_settings_have_dotted_names() -> None:
    config = {"memory": {"size": 40}, "settings": {"a": {"b": None}, "c": {}}, "seed": 0}

    assert flat_settings(config) == {
        "memory.size": 40, "settings.a.b": None, "settings.c": {}, "seed": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", "- a", "7", "a: [", "a: &x [*x]", "a: !!int ''", "a: !!timestamp x", "1: a",
        "a: 2001-99-99", "a: !!python/object/apply:os.getcwd []", "[" * 5000, "a: \x00",
    ],
)  # fmt: skip
def test_what_is_no_settings_is_told_in_words(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml cannot be read: "):
        read_config(tmp_path)


def test_a_missing_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.yaml cannot be read: .*No such file"):
        read_config(tmp_path)
