"""Suite files and run folders of strangers neither run code nor lead out of their folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import execute_here, saved_often
from tiny import planned, write_suite

from simo_cl.harness.suite_file import SuiteError, read_suite
from simo_cl.harness.suite_lock import suite_lock
from simo_cl.results import DataRecord, RunFolder, load_suite
from simo_cl.results import read_suite as read_results
from simo_cl.results.safe_paths import OutsideError, refuse_links, run_path
from simo_cl.tracking.mirror import mirror

WAYS_OUT = ["../other", "runs/../../other", "/etc", ".", "runs/..", ""]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The folder of a suite with one finished run; besides it, something of the user's own."""
    folder = tmp_path / "results" / "tiny"
    (run,) = saved_often(tmp_path, "finetune")
    there = RunFolder(folder / run.folder)
    there.start(run.config, DATA, {})
    there.add_metrics(0, {"average_accuracy": 0.5})
    there.write_arrays("arrays", {"accuracy/own": np.array([[0.5]])})
    there.finish()
    write_planned(folder, run.folder.as_posix())
    (tmp_path / "mine.txt").write_text("mine")
    return folder


DATA = DataRecord(digest="0", note="nothing")


def write_planned(folder: Path, entry: str) -> None:
    run = {"strategy": "finetune", "seed": 0, "folder": entry}
    (folder / "plan.json").write_text(json.dumps({"suite": "tiny", "runs": [run]}))


def run_of(suite: Path) -> Path:
    (folder,) = suite.glob("runs/*/*")
    return folder


class TestSuiteFiles:
    def test_yaml_makes_no_objects(self, tmp_path: Path) -> None:
        touch = f"!!python/object/apply:pathlib.Path.touch [{tmp_path / 'touched'}]"
        path = write_suite(tmp_path, f"description: {touch}\nstrategies: {{er: }}\n")
        with pytest.raises(SuiteError, match=r"tiny\.yaml:1: not valid YAML"):
            read_suite(path)
        with pytest.raises(SuiteError, match="not a valid YAML value"):
            read_suite(write_suite(tmp_path, "strategies: {er: }\n"), [f"description={touch}"])
        assert not (tmp_path / "touched").exists()

    @pytest.mark.parametrize("name", ["../out", "/out", "..", ".", "a/b", "a\\b", "", "a\n"])
    def test_a_name_is_no_path(self, name: str, tmp_path: Path) -> None:
        text = f"name: {json.dumps(name)}\nstrategies: {{er: }}\n"
        with pytest.raises(SuiteError, match="must be made of letters, digits"):
            read_suite(write_suite(tmp_path, text))

    @pytest.mark.parametrize("name", ["../evil", "sub/evil", "evil.py"])
    def test_a_strategy_is_no_path(self, name: str, tmp_path: Path) -> None:
        evil = f"from pathlib import Path\nPath({str(tmp_path / 'touched')!r}).touch()\n"
        strategies = tmp_path / "strategies"
        for folder in (tmp_path, strategies / "sub"):
            write_suite(folder, evil, "evil.py")
        mine = f"strategies: {{mine: {{strategy: {json.dumps(name)}}}}}\n"
        with pytest.raises(SuiteError, match="no strategy"):
            planned(tmp_path, mine, strategies=strategies)
        with pytest.raises(SuiteError, match=r"no strategy|must be made of letters"):
            planned(tmp_path, f"strategies: {{{json.dumps(name)}: }}\n", strategies=strategies)
        assert not (tmp_path / "touched").exists()

    def test_values_of_a_grid_stay_in_one_folder_s_name(self, tmp_path: Path) -> None:
        grid = 'grid: {model.encoder: ["../../out", "/out", "..", "a/../b"]}\n'
        for run in planned(tmp_path, f"strategies: {{er: }}\n{grid}"):
            runs, variant, seed = run.folder.parts
            assert runs == "runs"
            assert variant.startswith("er@model.encoder=")
            assert seed.startswith("seed0-")

    @pytest.mark.parametrize("key", ["memory.size/../../out", "simo@../out", "er@lr/../../out"])
    def test_keys_of_a_grid_are_settings(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(SuiteError):
            planned(tmp_path, f"strategies: {{er: }}\ngrid: {{{json.dumps(key)}: [1]}}\n")


class TestPlans:
    @pytest.mark.parametrize("entry", WAYS_OUT)
    @pytest.mark.parametrize("read", [load_suite, read_results, mirror])
    def test_a_run_is_inside_its_suite(
        self, entry: str, read: Callable[[Path], Any], suite: Path
    ) -> None:
        write_planned(suite, entry)
        with pytest.raises(OutsideError, match="which is not inside"):
            read(suite)

    def test_an_inner_path_is_as_given(self, tmp_path: Path) -> None:
        assert run_path(tmp_path, "runs/er/seed0") == tmp_path / "runs" / "er" / "seed0"


class TestLinks:
    """Whether the run's folder, a file in it, or a file that commands write, leads elsewhere."""

    @pytest.fixture(params=["runs/x", "LOG", "PARTIAL", "suite.lock", "mlflow.lock"])
    def linked(self, request: pytest.FixtureRequest, suite: Path) -> Path:
        inner = {"LOG": run_of(suite) / "log.txt", "PARTIAL": run_of(suite) / "config.yaml.partial"}
        link = inner.get(request.param, suite / request.param)
        link.symlink_to(suite.parents[1] / "mine.txt")
        return suite

    @pytest.mark.parametrize("read", [load_suite, read_results, mirror])
    def test_nothing_is_read_through_one(self, read: Callable[[Path], Any], linked: Path) -> None:
        with pytest.raises(OutsideError, match=r"is a link to .*mine\.txt, which is outside"):
            read(linked)

    def test_nothing_is_written_through_one(self, linked: Path) -> None:
        with (
            pytest.raises(OutsideError, match="is a link to"),
            suite_lock(linked / "suite.lock", "mine", print),
        ):
            pytest.fail("the lock was taken")
        assert (linked.parents[1] / "mine.txt").read_text() == "mine"

    def test_a_link_inside_is_none_of_these(self, suite: Path) -> None:
        (suite / "latest").symlink_to(run_of(suite))
        (suite / "itself").symlink_to(suite / "itself")
        refuse_links(suite)

    def test_the_folder_itself_may_be_one(self, suite: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(suite)
        assert [run.state for run in load_suite(tmp_path / "link").runs] == ["finished"]


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class TestRunFolders:
    """Of a stranger, who vouches for nothing or for what is there."""

    def test_arrays_are_numbers(self, suite: Path) -> None:
        run = run_of(suite)
        objects = np.array([Evil(suite / "touched")], dtype=object)
        np.savez(run / "arrays.npz", **{"accuracy/own": objects})
        RunFolder(run).finish()
        (reported,) = load_suite(suite).runs
        assert reported.state == "broken"
        assert "arrays.npz cannot be read" in reported.problem
        assert any("arrays.npz cannot be read" in problem for problem in mirror(suite).problems)
        assert not (suite / "touched").exists()

    def test_settings_are_data(self, suite: Path) -> None:
        touch = f"!!python/object/apply:pathlib.Path.touch [{suite / 'touched'}]"
        (run_of(suite) / "config.yaml").write_text(f"data: {touch}\n")
        RunFolder(run_of(suite)).finish()
        (reported,) = load_suite(suite).runs
        assert "config.yaml cannot be read" in reported.problem
        assert any("cannot be read" in problem for problem in mirror(suite).problems)
        assert not (suite / "touched").exists()

    def test_no_model_is_loaded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`torch.export.load` unpickles, which is for those who trust a model to do."""
        runs = saved_often(tmp_path, "finetune")
        folder = tmp_path / "results"
        execute_here(runs, folder)
        write_planned(folder, runs[0].folder.as_posix())
        monkeypatch.setattr("torch.export.load", lambda *_: pytest.fail("a model was loaded"))
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

        assert mirror(folder).problems == ()
        assert [run.state for run in load_suite(folder).runs] == ["finished"]
