from __future__ import annotations

import ast
import math
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import SHIPPED, STRATEGIES, write_suite

from simo_cl.harness.strategy_files import (
    load_strategy,
    setting_names,
    strategies_folder,
    strategy_names,
    strategy_summary,
)
from simo_cl.harness.suite_file import Locations, SuiteError

MINE = '''"""Mine, in a line.

More about it.
"""

from __future__ import annotations

from simo_cl.harness.settings import StrategySettings

SEARCH_SPACE = {"lr": [0.1], "depth": [1, 2]}


class Settings(StrategySettings):
    depth: int = 1


def build(setup, settings):
    return None
'''


def refusal(folder: Path, name: str) -> str:
    with pytest.raises(SuiteError) as caught:
        load_strategy(name, folder, "tiny.yaml:4")
    return str(caught.value)


def test_a_file_gives_settings_search_space_and_options(tmp_path: Path) -> None:
    write_suite(tmp_path, MINE + '\n\nJOINT = True\nFEATURE_LAYER = "net"\n', "mine.py")
    file = load_strategy("mine", tmp_path)

    assert file.settings({"depth": 3}, Locations(file.path)).model_dump() == {
        "lr": 1e-3,
        "depth": 3,
    }
    assert file.search_space == {"lr": [0.1], "depth": [1, 2]}
    assert file.joint
    assert file.feature_layer == "net"
    assert strategy_summary(file.path) == "Mine, in a line."


def test_what_a_file_leaves_out_has_a_default(tmp_path: Path) -> None:
    write_suite(tmp_path, MINE, "mine.py")
    file = load_strategy("mine", tmp_path)

    assert not file.joint
    assert file.feature_layer == "encoder"
    assert file.embedding_layer is None


def test_settings_and_search_space_may_be_left_out(tmp_path: Path) -> None:
    write_suite(tmp_path, "def build(setup, settings):\n    return None\n", "mine.py")
    file = load_strategy("mine", tmp_path)

    assert file.settings({"lr": 0.5}, Locations(file.path)).model_dump() == {"lr": 0.5}
    assert file.search_space == {}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_complete(name: str) -> None:
    file = load_strategy(name, STRATEGIES)

    assert strategy_summary(file.path).endswith((".", ":", ","))
    assert 1 <= len(file.search_space) <= 5
    for setting, values in file.search_space.items():
        for value in values:
            file.settings({setting: value}, Locations(file.path))


def test_what_differs_from_simo_in_the_loss_alone_is_searched_at_least_as_widely() -> None:
    """An axis whose best value lay at its end has been widened since."""
    sizes = {
        name: math.prod(map(len, load_strategy(name, STRATEGIES).search_space.values()))
        for name in ("simo", "supcon", "triplet")
    }

    assert sizes["simo"] == min(sizes.values()), sizes


def test_a_search_space_has_what_a_suite_may_have(tmp_path: Path) -> None:
    """What is tried is written into files, and the best into a suite."""
    space = '{"lr": list(np.logspace(-2, -1, 2)), "depth": (np.int64(1), 2)}'
    write_suite(tmp_path, MINE + f"\nimport numpy as np\nSEARCH_SPACE = {space}\n", "mine.py")

    space = load_strategy("mine", tmp_path).search_space

    assert space == {"lr": [0.01, 0.1], "depth": [1, 2]}
    assert {type(value) for values in space.values() for value in values} == {float, int}


def test_a_name_may_have_a_dot_or_a_space(tmp_path: Path) -> None:
    for name in ("mine_0.1", "my own"):
        write_suite(tmp_path, MINE + "\nimport _shared\n", f"{name}.py")
    write_suite(tmp_path, "", "_shared.py")

    assert load_strategy("mine_0.1", tmp_path).name == "mine_0.1"
    assert load_strategy("my own", tmp_path).name == "my own"


def test_names_of_settings_are_read_without_an_import(tmp_path: Path) -> None:
    write_suite(tmp_path, MINE, "mine.py")
    write_suite(tmp_path, "from nothing_of_this_name.more import Settings\n", "lost.py")

    assert setting_names(tmp_path, "mine") == {"lr", "depth"}
    assert setting_names(tmp_path, "lost") == set()
    assert {"lr", "epsilon", "dimension"} < setting_names(STRATEGIES, "simo")


def test_files_that_begin_with_an_underscore_are_no_strategies(tmp_path: Path) -> None:
    for name in ("mine", "_shared"):
        write_suite(tmp_path, MINE, f"{name}.py")
    write_suite(tmp_path, "", "notes.md")

    assert strategy_names(tmp_path) == ["mine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "mine.py lacks build(setup, settings), which gives a strategy; see docs/strategies.md",
        ),
        ("build = 1\n", "mine.py lacks build(setup, settings)"),
        ("import nothing_of_this_name", "mine.py cannot be imported: ModuleNotFoundError"),
        ("\n\nthis is no Python\n", "mine.py cannot be imported: SyntaxError"),
        (MINE.replace("(StrategySettings)", ""), "Settings must extend StrategySettings"),
        (MINE + "\n\nSettings = None\n", "Settings must extend StrategySettings"),
        (MINE + "\n\nSEARCH_SPACE = [1]\n", "SEARCH_SPACE must map settings to lists of values"),
        (
            MINE + '\n\nSEARCH_SPACE = {"depth": [{1, 2}]}\n',
            "mine.py: SEARCH_SPACE has {1, 2}, which no suite file can have",
        ),
        (
            MINE + '\n\nPROTOCOLS = ("online")\n',
            'mine.py: PROTOCOLS is \'online\'; it must be ("batch",) or ("online",), with the',
        ),
        (MINE + '\n\nPROTOCOLS = ["onlin"]\n', "mine.py: PROTOCOLS is ['onlin']; it must be"),
        ("import sys\n\nsys.exit(3)\n", "mine.py cannot be imported: SystemExit: 3 ("),
    ],
)
def test_a_file_that_is_no_strategy_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write_suite(tmp_path, text, "mine.py")

    shown = refusal(tmp_path, "mine")

    assert shown.startswith("tiny.yaml:4: ")
    assert message in shown


def test_an_error_in_a_file_is_shown_with_its_line(tmp_path: Path) -> None:
    write_suite(tmp_path, MINE.replace("depth: int = 1", "depth: int = 1 // 0"), "mine.py")

    assert "mine.py, line 14" in refusal(tmp_path, "mine")


def test_modules_beside_a_file_are_part_of_its_digest_and_of_no_other(tmp_path: Path) -> None:
    write_suite(tmp_path, MINE + "\n\nfrom _shared import DEPTH\n", "mine.py")
    write_suite(tmp_path, MINE, "other.py")
    write_suite(tmp_path, "DEPTH = 1\n", "_shared.py")
    mine, other = load_strategy("mine", tmp_path), load_strategy("other", tmp_path)
    write_suite(tmp_path, "DEPTH = 2\n", "_shared.py")

    changed = load_strategy("mine", tmp_path)
    sent = pickle.dumps(mine)
    mine.file.forget()
    again = pickle.loads(sent)

    assert (mine.module.DEPTH, changed.module.DEPTH, again.module.DEPTH) == (1, 2, 1)
    assert again.digest == mine.digest
    assert changed.digest != mine.digest
    assert load_strategy("other", tmp_path).digest == other.digest


def test_a_setting_may_not_be_called_strategy(tmp_path: Path) -> None:
    write_suite(tmp_path, MINE.replace("depth: int = 1", "strategy: int = 1"), "mine.py")

    with pytest.raises(SuiteError, match=r"mine\.py: Settings must not have `strategy`"):
        load_strategy("mine", tmp_path)


def test_a_name_that_is_no_file_gets_the_nearest(tmp_path: Path) -> None:
    write_suite(tmp_path, MINE, "mine.py")

    assert refusal(tmp_path, "mien") == (
        f"tiny.yaml:4: no strategy 'mien' in {tmp_path}; there are mine. Did you mean 'mine'? "
        "--strategies-dir names another folder."
    )


@dataclass
class Folders:
    given: Path
    beside: Path
    here: Path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    monkeypatch.chdir(tmp_path)
    return Folders(tmp_path / "given", tmp_path / "project" / "strategies", Path("strategies"))


def test_the_folder_is_the_one_given_or_beside_the_suites_or_here(folders: Folders) -> None:
    suite = folders.beside.parent / "benchmarks" / "suite.yaml"
    for folder in (folders.here, folders.beside, folders.given):
        folder.mkdir(parents=True)

    assert strategies_folder(suite, folders.given) == folders.given
    assert strategies_folder(suite, None) == folders.beside
    folders.beside.rmdir()
    assert strategies_folder(suite, None) == folders.here
    assert strategies_folder(None, None) == folders.here


def test_a_folder_that_was_named_is_not_replaced_by_another(folders: Folders) -> None:
    folders.here.mkdir()

    with pytest.raises(SuiteError, match=r"looked in .*given\); name one with --strategies-dir"):
        strategies_folder(None, folders.given)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_short(name: str) -> None:
    text = (STRATEGIES / f"{name}.py").read_text()

    assert len(text.splitlines()) <= 60
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", sorted(STRATEGIES.glob("*.py")), ids=lambda path: path.stem)
def test_a_shipped_strategy_imports_what_any_file_may(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]

    assert "simo_cl.strategy" in modules
    assert not [module for module in modules if module.startswith("simo_cl.harness")]
