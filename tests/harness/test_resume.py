"""A run that was interrupted ends with the very numbers of one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tiny import (
    FOR_BATCHES,
    ONLINE,
    SETTINGS,
    Interrupted,
    entries,
    outcome,
    part_of_digits,
    planned,
    write_suite,
)

from simo_cl.harness.checkpoint import Checkpoints
from simo_cl.harness.execute_run import execute_run
from simo_cl.harness.plan import PlannedRun
from simo_cl.results import RunFolder, read_status
from simo_cl.streams import DataError, DataSet, Images

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("weights_are_exported")]


@pytest.fixture(scope="module")
def data() -> DataSet:
    return part_of_digits()


class Whole(NamedTuple):
    """What a run gives that nothing interrupts."""

    steps: int
    outcome: dict[str, Any]


Wholes = Callable[[PlannedRun], Whole]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory, data: DataSet) -> Wholes:
    """Executes each run once for all tests."""
    folder = tmp_path_factory.mktemp("whole")
    executed: dict[Path, Whole] = {}

    def whole(run: PlannedRun) -> Whole:
        if run.folder not in executed:
            steps = execute(run, folder, data)
            executed[run.folder] = Whole(steps, outcome(folder / run.folder))
        return executed[run.folder]

    return whole


def run_of(
    folder: Path,
    strategy: str,
    settings: str = SETTINGS,
    more: tuple[str, ...] = (),
    given: str = "",
    **options: Any,
) -> PlannedRun:
    """The run of a strategy, with the settings given, that is saved as often as can be."""
    text = entries(strategy, given=given) + "checkpoint_minutes: 0\n"
    epochs = ("training.epochs=2",) if settings == SETTINGS else ()
    overrides = ("stream.experiences=3", *epochs, *more)
    (run,) = planned(folder / "suite", text, overrides, settings=settings, **options)
    return run


def execute(run: PlannedRun, folder: Path, data: DataSet, stop_after: int | None = None) -> int:
    """Executes, or is interrupted in the middle of a step; gives the number of steps seen."""
    seen = 0

    def step(taken: int, total: int) -> None:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise Interrupted

    execute_run(run, data, RunFolder(folder / run.folder), torch.device("cpu"), step)
    return seen


def interrupt(run: PlannedRun, folder: Path, data: DataSet, after: int) -> None:
    with pytest.raises(Interrupted):
        execute(run, folder, data, after)


def in_three_pieces(run: PlannedRun, folder: Path, data: DataSet, whole: Whole) -> None:
    """Compares a run that is interrupted twice with one that is not."""
    interrupt(run, folder, data, whole.steps // 2)
    interrupt(run, folder, data, whole.steps // 4)
    execute(run, folder, data)
    assert outcome(folder / run.folder) == whole.outcome


@pytest.mark.parametrize("strategy", FOR_BATCHES)
def test_two_interruptions_change_nothing(
    strategy: str, tmp_path: Path, data: DataSet, wholes: Wholes
) -> None:
    run = run_of(tmp_path, strategy)
    in_three_pieces(run, tmp_path, data, wholes(run))


@pytest.mark.parametrize(
    ("strategy", "given"),
    [
        ("metric_loss", "{loss: ProxyAnchorLoss}"),
        ("metric_loss", "{loss: ArcFaceLoss, distill: ird}"),
        ("simo", "{distill: ird}"),
    ],
)
def test_nor_do_they_where_a_loss_has_weights_or_an_earlier_model_is_kept(
    strategy: str, given: str, tmp_path: Path, data: DataSet, wholes: Wholes
) -> None:
    run = run_of(tmp_path, strategy, given=given)
    in_three_pieces(run, tmp_path, data, wholes(run))


def test_nor_do_they_with_two_threads(tmp_path: Path, data: DataSet, wholes: Wholes) -> None:
    """Which share the sums over triplets from 32,768 on, and a batch of 120 images has more."""
    more = ("training.threads=2", "training.batch_size=120", "memory.size=200")
    more += ("training.epochs=1", "stream.experiences=2")
    run = run_of(tmp_path, "triplet", more=more)
    in_three_pieces(run, tmp_path, data, wholes(run))


@pytest.mark.parametrize("strategy", ["co2l", "er", "er_ace", "er_aml", "mir", "simo"])
def test_nor_do_they_online(strategy: str, tmp_path: Path, data: DataSet, wholes: Wholes) -> None:
    run = run_of(tmp_path, strategy, ONLINE)
    in_three_pieces(run, tmp_path, data, wholes(run))


@pytest.mark.parametrize("strategy", ["simo", "er_ace"])
def test_our_batches_go_on_at_any_step(
    strategy: str, tmp_path: Path, data: DataSet, wholes: Wholes
) -> None:
    run = run_of(tmp_path, strategy)
    steps, whole = wholes(run)
    # In the first experience, in the middle of a pass, and at the last step of all.
    for stop in (3, steps // 2, steps):
        folder = tmp_path / str(stop)
        interrupt(run, folder, data, stop)
        assert execute(run, folder, data) == steps - stop + 1
        assert outcome(folder / run.folder) == whole


@pytest.mark.parametrize("strategy", ["finetune", "er", "icarl"])
def test_stock_loaders_go_on_between_epochs(
    strategy: str, tmp_path: Path, data: DataSet, wholes: Wholes
) -> None:
    run = run_of(tmp_path, strategy)
    steps = wholes(run).steps
    interrupt(run, tmp_path / "stopped", data, steps)
    left = execute(run, tmp_path / "stopped", data)
    # A third of the steps are in the last experience, which has several epochs.
    assert left < steps // 3 - 1


def test_endless_loaders_go_on_between_experiences(
    tmp_path: Path, data: DataSet, wholes: Wholes
) -> None:
    run = run_of(tmp_path, "der")
    steps = wholes(run).steps
    interrupt(run, tmp_path / "stopped", data, steps)
    assert steps // 4 < execute(run, tmp_path / "stopped", data) < steps // 2


def test_small_experiences_go_on_at_the_next(tmp_path: Path, data: DataSet, wholes: Wholes) -> None:
    run = run_of(tmp_path, "mir", ONLINE)
    steps = wholes(run).steps
    interrupt(run, tmp_path / "stopped", data, steps - 2)
    assert execute(run, tmp_path / "stopped", data) == 3


def test_a_finished_run_has_no_checkpoint(tmp_path: Path, data: DataSet) -> None:
    run = run_of(tmp_path, "finetune")
    execute(run, tmp_path, data)
    assert not list((tmp_path / run.folder).glob("checkpoint*"))


def test_times_go_on_too(tmp_path: Path, data: DataSet, wholes: Wholes) -> None:
    run = run_of(tmp_path, "finetune")
    steps = wholes(run).steps
    folder = RunFolder(tmp_path / run.folder)
    interrupt(run, tmp_path, data, steps)
    first = json.loads((folder.path / "metrics.jsonl").read_text().splitlines()[0])
    before = read_status(folder.path)
    execute(run, tmp_path, data)
    assert json.loads((folder.path / "metrics.jsonl").read_text().splitlines()[0]) == first
    after = read_status(folder.path)
    assert before is not None
    assert after is not None
    assert after.started == before.started
    assert folder.last_metrics()["cost/train_seconds"] > first["metrics"]["cost/train_seconds"]


class TestDamage:
    def test_the_checkpoint_before_serves(
        self, tmp_path: Path, data: DataSet, wholes: Wholes
    ) -> None:
        run = run_of(tmp_path, "simo")
        steps, whole = wholes(run)
        interrupt(run, tmp_path / "cut", data, steps // 2)
        path = tmp_path / "cut" / run.folder / "checkpoint.pt"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.warns(UserWarning, match=r"checkpoint\.pt cannot be used"):
            left = execute(run, tmp_path / "cut", data)
        assert left == steps - steps // 2 + 2
        assert outcome(tmp_path / "cut" / run.folder) == whole

    def test_without_one_the_run_begins_anew(
        self, tmp_path: Path, data: DataSet, wholes: Wholes
    ) -> None:
        run = run_of(tmp_path, "simo")
        steps, whole = wholes(run)
        interrupt(run, tmp_path / "cut", data, steps // 2)
        for path in (tmp_path / "cut" / run.folder).glob("checkpoint*.pt"):
            path.write_bytes(b"")
        with pytest.warns(UserWarning, match="cannot be used"):
            assert execute(run, tmp_path / "cut", data) == steps
        assert outcome(tmp_path / "cut" / run.folder) == whole

    def test_a_damaged_metrics_file_is_mended(
        self, tmp_path: Path, data: DataSet, wholes: Wholes
    ) -> None:
        run = run_of(tmp_path, "simo")
        steps, whole = wholes(run)
        interrupt(run, tmp_path / "cut", data, steps)
        path = tmp_path / "cut" / run.folder / "metrics.jsonl"
        path.write_text(path.read_text()[:40])
        (path.parent / "config.yaml").write_text("data: {")
        (path.parent / "status.json").write_text("{")
        execute(run, tmp_path / "cut", data)
        assert outcome(tmp_path / "cut" / run.folder) == whole


def test_a_checkpoint_of_another_network_begins_anew(
    tmp_path: Path, data: DataSet, wholes: Wholes
) -> None:
    run = run_of(tmp_path, "simo")
    steps, whole = wholes(run)
    interrupt(run, tmp_path / "other", data, steps // 2)
    checkpoints = Checkpoints(tmp_path / "other" / run.folder)
    state = checkpoints.load()
    assert state is not None
    state["strategy"]["model"] = {"elsewhere": torch.zeros(1)}
    checkpoints.save(state)
    with pytest.warns(UserWarning, match=r"begins anew.*does not fit what is built now"):
        assert execute(run, tmp_path / "other", data) == steps
    assert outcome(tmp_path / "other" / run.folder) == whole


def test_other_data_are_refused(tmp_path: Path, data: DataSet) -> None:
    run = run_of(tmp_path, "finetune")
    interrupt(run, tmp_path, data, 5)
    images = data.train.images.clone()
    images[0, 0, 0, 0] += 1
    other = DataSet("digits", Images(images, data.train.labels), data.test, data.class_names, "x")
    with pytest.raises(DataError, match=r"began on other data.*--results"):
        execute(run, tmp_path, other)
    execute(run, tmp_path, data)


FORGETFUL = '''"""A strategy with a plugin that does not say what it remembers."""

from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.supervised import Naive
from simo_cl.harness.settings import StrategySettings as Settings

SEARCH_SPACE = {"lr": [1e-3]}


class Counter(SupervisedPlugin):
    def __init__(self):
        super().__init__()
        self.count = 0


def build(setup, settings):
    arguments = setup.stock_arguments(setup.classifier(), settings.lr)
    return Naive(**arguments, plugins=[Counter(), setup.budget()])
'''


def test_a_strategy_without_a_state_says_that_it_begins_anew(tmp_path: Path, data: DataSet) -> None:
    write_suite(tmp_path / "strategies", FORGETFUL, "forgetful.py")
    run = run_of(tmp_path, "forgetful", strategies=tmp_path / "strategies")
    with pytest.warns(UserWarning, match=r"begins anew if it is interrupted: Counter has no"):
        interrupt(run, tmp_path, data, 5)
    with pytest.warns(UserWarning, match="begins anew"):
        assert execute(run, tmp_path, data) > 5


class TestCheckpoints:
    def test_the_last_two_are_kept(self, tmp_path: Path) -> None:
        checkpoints = Checkpoints(tmp_path)
        assert checkpoints.load() is None
        for number in range(3):
            checkpoints.save({"number": number, "weights": torch.full((2,), float(number))})
        assert checkpoints.load()["number"] == 2  # type: ignore[index]
        (tmp_path / "checkpoint.pt").unlink()
        assert checkpoints.load()["number"] == 1  # type: ignore[index]
        checkpoints.remove()
        assert list(tmp_path.iterdir()) == []

    def test_every_cut_and_changed_byte_is_found(self, tmp_path: Path) -> None:
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save({"number": 1})
        path = tmp_path / "checkpoint.pt"
        whole = path.read_bytes()
        middle = len(whole) // 2
        changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        for content in (b"", whole[:10], whole[:85], whole[:-1], changed):
            path.write_bytes(content)
            with pytest.warns(UserWarning, match="cannot be used"):
                assert checkpoints.load() is None

    def test_no_code_runs(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (tmp_path / "touched",)

        checkpoints = Checkpoints(tmp_path)
        checkpoints.save({"evil": Evil()})
        with pytest.warns(UserWarning, match="more than tensors and primitives"):
            assert checkpoints.load() is None
        assert not (tmp_path / "touched").exists()

    def test_another_format_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save({"number": 1})
        monkeypatch.setattr("simo_cl.harness.checkpoint.FORMAT", 2)
        with pytest.warns(UserWarning, match="another version of simo-cl"):
            assert checkpoints.load() is None
