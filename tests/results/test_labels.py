from __future__ import annotations

from pathlib import Path

from simo_cl.results import run_folder_name, run_label, variant_settings


def test_a_label_names_the_point_of_a_grid() -> None:
    assert run_label("simo", "") == "simo"
    assert run_label("simo", "memory.size=200") == "simo[memory.size=200]"


def test_a_folder_is_named_as_the_label_is() -> None:
    assert run_folder_name("simo", "", 0, "1a2b3c4d") == Path("runs/simo/seed0-1a2b3c4d")
    in_grid = run_folder_name("simo", "memory.size=200", 3, "1a2b3c4d")
    assert in_grid == Path("runs/simo@memory.size=200/seed3-1a2b3c4d")


def test_a_folder_s_name_is_one_that_file_systems_allow() -> None:
    assert len(run_folder_name("simo", "x" * 400, 0, "1a2b3c4d").parts[1]) == 200


def test_a_variant_is_the_settings_that_it_fixes() -> None:
    assert variant_settings("") == {}
    assert variant_settings("a.b=1,c=x") == {"a.b": "1", "c": "x"}
