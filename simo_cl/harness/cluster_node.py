"""What a node of a cluster does with a run. Nothing here needs Ray to be imported."""

from __future__ import annotations

import io
import pickle
import socket
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

import simo_cl
from simo_cl.harness.attempt import attempt, throttled
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.plugins import load_plugins
from simo_cl.harness.precision import slowness_of
from simo_cl.harness.strategy_files import StrategyFile, load_the_same
from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import Sources
from simo_cl.streams import DataSet, Images

Say = Callable[[str, tuple[Any, ...]], None]


class Result(NamedTuple):
    """What comes back from a node.

    Attributes:
        reason: why the run failed, if it did.
        files: of the run folder by name; none if it is on shared storage, or was never made.
    """

    reason: str | None
    files: dict[str, bytes]


@dataclass(frozen=True)
class Parcel:
    """A run with its strategy's file and the modules beside it, which the node does not have."""

    run: bytes
    sources: Sources

    @classmethod
    def of(cls, run: PlannedRun) -> Parcel:
        stream = io.BytesIO()
        _WithoutStrategy(stream).dump(run)
        return cls(stream.getvalue(), run.strategy_file.sources)

    def unpack(self, folder: Path) -> PlannedRun:
        """The run, with its strategy's file in that folder.

        Raises:
            SuiteError: the file cannot be imported there.
        """
        _write(self.sources, folder)
        run: PlannedRun = _WithStrategyFrom(folder, self.run).load()
        return run


@dataclass(frozen=True)
class Common:
    """What all runs of a command share.

    Attributes:
        version: of simo-cl.
        results: the suite's folder, as messages name it.
        shared: a file in it that every node must see, if runs are to be written there.
        plugins: the user's file, and the modules beside it.
        data: name, class names and note of the data set.
        cuda: whether a run gets a GPU, or a part of one.
    """

    version: str
    results: Path
    shared: Path | None
    plugins: Sources | None
    data: tuple[str, tuple[str, ...], str]
    cuda: bool


def execute_on_node(parcel: Parcel, common: Common, arrays: Any, say: Say) -> Result:
    """Executes one run.

    Args:
        parcel: with the run.
        common: to all runs.
        arrays: images and labels for training, then for testing, as NumPy arrays that may be in
            memory shared with other processes.
        say: told ``"begins"`` with this node's name, ``"step"`` with steps taken and in all, and
            ``"warning"`` with a text.
    """
    node = socket.gethostname()
    say("begins", (node,))
    if common.version != simo_cl.__version__:
        reason = (
            f"{node} has simo-cl {simo_cl.__version__}, and the command is of {common.version}; "
            "install the same version on every node"
        )
        return Result(reason, {})
    if common.shared is not None and not common.shared.exists():
        reason = (
            f"{node} does not see {common.results}; --ray-shared needs a results folder that has "
            "the same path on every node. Without it, results are sent back"
        )
        return Result(reason, {})
    with tempfile.TemporaryDirectory(prefix="simo-cl-") as temporary:
        try:
            if common.plugins is not None:
                _load_plugins(tuple(common.plugins.items()))
            run = parcel.unpack(Path(temporary) / "strategies")
        except SuiteError as error:
            return Result(f"{node}: {error}", {})
        return _execute(run, Path(temporary) / "results", common, _data_set(common, arrays), say)


def _execute(run: PlannedRun, temporary: Path, common: Common, data: DataSet, say: Say) -> Result:
    results = temporary if common.shared is None else common.results

    def as_there(text: str) -> str:
        """Messages name the folder in which the user will find what they are about."""
        return text.replace(str(results), str(common.results))

    device = torch.device("cuda" if common.cuda else "cpu")
    if slowness := slowness_of(run.settings.model.precision, device):
        say("warning", (f"{run.name} on {socket.gethostname()}: {slowness}",))
    reason = attempt(
        run,
        results,
        data,
        device,
        throttled(lambda taken, total: say("step", (taken, total))),
        lambda text: say("warning", (as_there(text),)),
    )
    written = [] if common.shared is not None else (results / run.folder).glob("*")
    files = {path.name: path.read_bytes() for path in written if path.is_file()}
    return Result(reason and as_there(reason), files)


class _WithoutStrategy(pickle.Pickler):
    def persistent_id(self, item: Any) -> Any:
        return (item.name, item.digest) if isinstance(item, StrategyFile) else None


class _WithStrategyFrom(pickle.Unpickler):
    def __init__(self, folder: Path, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._folder = folder

    def persistent_load(self, named: Any) -> StrategyFile:
        name, digest = named
        return load_the_same(name, self._folder, digest)


@cache
def _load_plugins(sources: tuple[tuple[str, bytes], ...]) -> None:
    with tempfile.TemporaryDirectory(prefix="simo-cl-") as folder:
        _write(dict(sources), Path(folder))
        load_plugins(Path(folder) / sources[0][0])


def _write(sources: Sources, folder: Path) -> None:
    for name, source in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source)


def _data_set(common: Common, arrays: Any) -> DataSet:
    with warnings.catch_warnings():
        # That nobody may write to them is as it should be: other processes read them, too.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        train, train_labels, test, test_labels = map(torch.from_numpy, arrays)
    name, class_names, note = common.data
    return DataSet(name, Images(train, train_labels), Images(test, test_labels), class_names, note)
