from __future__ import annotations

from pathlib import Path

from simo_cl.results import (
    Plan,
    Suite,
    file_name,
    merge_suites,
    run_folder_name,
    run_label,
    variant_settings,
)


def test_a_label_names_the_point_of_a_grid() -> None:
    assert run_label("simo", "") == "simo"
    assert run_label("simo", "memory.size=200") == "simo[memory.size=200]"


def test_a_folder_is_named_as_the_label_is() -> None:
    assert run_folder_name("simo", "", 0, "1a2b3c4d") == Path("runs/simo/seed0-1a2b3c4d")
    in_grid = run_folder_name("simo", "memory.size=200", 3, "1a2b3c4d")
    assert in_grid == Path("runs/simo@memory.size=200/seed3-1a2b3c4d")


def test_a_folder_s_name_is_one_that_file_systems_allow() -> None:
    assert len(run_folder_name("simo", "x" * 400, 0, "1a2b3c4d").parts[1]) == 200
    assert file_name("simo@x=1") == "simo@x=1"
    one, two = file_name("é" * 400), file_name("é" * 401)
    assert one != two
    assert len(one.encode()) == len(two.encode()) == 209


def test_many_suites_together_have_a_name_that_file_systems_allow(tmp_path: Path) -> None:
    suites = [
        Suite(tmp_path / f"{number:040}", Plan(suite=str(number), runs=()), ())
        for number in range(9)
    ]
    few, all_of_them = merge_suites(suites[:2]), merge_suites(suites)
    assert few.folder == tmp_path / f"{0:040}+{1:040}"
    assert len(all_of_them.folder.name) == 209


def test_a_variant_is_the_settings_that_it_fixes() -> None:
    assert variant_settings("") == {}
    assert variant_settings("a.b=1,c=x") == {"a.b": "1", "c": "x"}
