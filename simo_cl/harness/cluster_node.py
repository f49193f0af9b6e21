"""A run on a node of a Ray cluster."""

from __future__ import annotations

import pickle
import socket
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import simo_cl
from simo_cl.harness.attempt import Listener, attempt, throttled
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.plugins import register_parts
from simo_cl.harness.precision import slowness_of
from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import UserFile
from simo_cl.streams import DataSet, Images


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
    plugins: UserFile | None
    data: tuple[str, tuple[str, ...], str]
    cuda: bool


def execute_on_node(job: bytes, common: Common, arrays: Any, listener: Listener) -> tuple[Any, ...]:
    """Executes one run.

    Args:
        job: the run, pickled.
        common: to all runs.
        arrays: images and labels for training, then for testing, as NumPy arrays that may be in
            memory shared with other processes.
        listener: told ``"begins"`` with this node's name, and what an attempt says.

    Returns:
        ``"ended"``, why it failed if it did, and the files of its folder by name, none if that is
        on shared storage; or ``"lost"`` and why it could not begin.
    """
    node = socket.gethostname()
    listener("begins", node)
    if common.version != simo_cl.__version__:
        return "lost", (
            f"{node} has simo-cl {simo_cl.__version__}, and the command is of {common.version}; "
            "install the same version on every node"
        )
    if common.shared is not None and not common.shared.exists():
        return "lost", (
            f"{node} does not see {common.results}; --ray-shared needs a results folder that has "
            "the same path on every node. Without it, results are sent back"
        )
    try:
        if common.plugins is not None:
            register_parts(common.plugins)
        run: PlannedRun = pickle.loads(job)
    except SuiteError as error:
        return "lost", f"{node}: {error}"
    with tempfile.TemporaryDirectory(prefix="simo-cl-") as temporary:
        return _execute(run, Path(temporary), common, _data_set(common, arrays), listener)


def _execute(
    run: PlannedRun, temporary: Path, common: Common, data: DataSet, listener: Listener
) -> tuple[Any, ...]:
    results = temporary if common.shared is None else common.results

    def say_there(kind: str, *content: Any) -> None:
        """Messages name the folder in which the user will find what they are about."""
        listener(kind, *(as_there(text) if isinstance(text, str) else text for text in content))

    def as_there(text: str) -> str:
        return text.replace(str(results), str(common.results))

    device = torch.device("cuda" if common.cuda else "cpu")
    if slowness := slowness_of(run.settings.model.precision, device):
        listener("warning", f"{run.name} on {socket.gethostname()}: {slowness}")
    reason = attempt(run, results, data, device, throttled(say_there))
    written = [] if common.shared is not None else (results / run.folder).glob("*")
    files = {path.name: path.read_bytes() for path in written if path.is_file()}
    if reason is not None and common.shared is None and not files:
        # Its folder could not even be made.
        return "lost", as_there(reason)
    return "ended", reason and as_there(reason), files


def _data_set(common: Common, arrays: Any) -> DataSet:
    with warnings.catch_warnings():
        # That nobody may write to them is as it should be: other processes read them, too.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        train, train_labels, test, test_labels = map(torch.from_numpy, arrays)
    name, class_names, note = common.data
    return DataSet(name, Images(train, train_labels), Images(test, test_labels), class_names, note)
