"""A suite's runs on a Ray cluster."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simo_cl
from simo_cl.harness.attempt import RunsListener
from simo_cl.harness.cluster_node import Common, execute_on_node
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.settings import ResourceSettings
from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import UserFile
from simo_cl.results import STATUS, RunFolder, write_atomically
from simo_cl.streams import DataSet

if TYPE_CHECKING:
    import ray

_ATTEMPTS = 4
_SECONDS_BETWEEN_LOOKS = 0.3
_SECONDS_UNTIL_SEEN = 60.0
_SECONDS_TO_REACH = 10.0


@dataclass(frozen=True)
class Cluster:
    """Where runs are executed, and what each needs.

    Attributes:
        address: of a Ray cluster, as ``host:6379``, ``ray://host:10001`` or ``auto``.
        resources: of one run.
        shared: whether the suite's folder has the same path on every node; if not, results are
            sent back.
    """

    address: str
    resources: ResourceSettings
    shared: bool = False


def execute_on_cluster(
    runs: Sequence[PlannedRun],
    cluster: Cluster,
    folder: Path,
    *,
    data: DataSet,
    plugins: UserFile | None,
    listener: RunsListener,
) -> None:
    """Executes runs on a Ray cluster, as many at once as its resources allow.

    A run whose node or process dies begins again elsewhere, up to three times; with shared results
    it goes on from its checkpoint.

    Args:
        runs: to execute, queued in this order.
        cluster: to execute them on.
        folder: of the suite.
        data: that the runs train on; each node gets it once.
        plugins: a file that each process imports.
        listener: told what happens.

    Raises:
        SuiteError: Ray is not installed, or the cluster cannot be reached or is lost.
    """
    with _connected(cluster.address), ExitStack() as stack:
        mark = None
        if cluster.shared:
            # By which nodes tell that they see the same folder.
            here = folder.resolve()
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix=".shared-", dir=here))
            mark = Path(file.name)
        common = Common(
            version=simo_cl.__version__,
            results=folder.resolve() if cluster.shared else folder,
            shared=mark,
            plugins=plugins,
            data=(data.name, data.class_names, data.note),
            cuda=cluster.resources.gpus > 0,
        )
        queue = _Queue(cluster.resources, common, data)
        for run in runs:
            queue.add(run)
        _warn_of_what_fits_nowhere(runs, cluster.resources, listener)
        while queue.pending:
            for run, kind, *content in queue.events():
                if kind == "ended":
                    listener(run, "ended", _keep(run, folder, *content, shared=cluster.shared))
                elif kind != "died":
                    listener(run, kind, *content)
                elif (attempts := queue.attempts[run.name]) < _ATTEMPTS:
                    again = f"begins again, attempt {attempts + 1} of {_ATTEMPTS}"
                    listener(run, "restarts", f"{content[0]}; {again}")
                    queue.add(run)
                else:
                    listener(run, "lost", f"{content[0]}, {_ATTEMPTS} times")


class _Queue:
    """The runs that the cluster has been given.

    Attributes:
        pending: Ray's references to the results that are still to come.
        attempts: how often each run has been given to the cluster, by its name.
    """

    def __init__(self, resources: ResourceSettings, common: Common, data: DataSet) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray = ray
        self._resources = resources
        # Attempts are counted here, where they are told of.
        self._task = ray.remote(max_retries=0, num_gpus=resources.gpus)(_task)
        self._common = ray.put(common)
        parts = [data.train.images, data.train.labels, data.test.images, data.test.labels]
        self._arrays = ray.put([part.numpy() for part in parts])
        # Here, where it dies with this process alone.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(_Mailbox).remote()
        self.pending: dict[ray.ObjectRef, PlannedRun] = {}
        self.attempts: dict[str, int] = {}
        self._running: dict[tuple[str, int], PlannedRun] = {}

    def add(self, run: PlannedRun) -> None:
        attempt = self.attempts[run.name] = self.attempts.get(run.name, 0) + 1
        key = run.name, attempt
        self._running[key] = run
        task = self._task.options(num_cpus=cpus_of(run, self._resources))
        job = pickle.dumps(run)
        self.pending[task.remote(job, self._common, self._arrays, self._mailbox, key)] = run

    def events(self) -> Iterator[tuple[Any, ...]]:
        """A run, ``kind`` and ``*content`` each: what runs have said, then what has come of those
        that are over; ``"died"`` with what has happened to a run's process."""
        tasks = list(self.pending)
        done, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=_SECONDS_BETWEEN_LOOKS)
        for key, *said in self._ray.get(self._mailbox.take.remote()):
            if (run := self._running.get(key)) is not None:
                yield (run, *said)
        for task in done:
            run = self.pending.pop(task)
            del self._running[run.name, self.attempts[run.name]]
            yield (run, *self._result(task))

    def _result(self, task: ray.ObjectRef) -> tuple[Any, ...]:
        errors = self._ray.exceptions
        try:
            result: tuple[Any, ...] = self._ray.get(task)
        except errors.RayTaskError as error:
            return "lost", f"on the node: {error.cause!r}"
        except errors.OutOfMemoryError:
            return "died", "its node ran out of memory"
        except errors.RayError as error:
            return "died", f"its node or process ended ({type(error).__name__})"
        return result


class _Mailbox:
    """Takes what runs say to the process that began them.

    Ray's own queue would not keep the order in which a run says it.
    """

    def __init__(self) -> None:
        self._letters: list[tuple[Any, ...]] = []

    def put(self, *letter: Any) -> None:
        self._letters.append(letter)

    def take(self) -> list[tuple[Any, ...]]:
        letters, self._letters = self._letters, []
        return letters


def _task(job: bytes, common: Common, arrays: Any, mailbox: Any, key: Any) -> tuple[Any, ...]:
    return execute_on_node(job, common, arrays, partial(mailbox.put.remote, key))


def cpus_of(run: PlannedRun, resources: ResourceSettings) -> float:
    """The processor cores that are reserved for a run."""
    return run.settings.training.threads if resources.cpus is None else resources.cpus


def _keep(
    run: PlannedRun, folder: Path, reason: str | None, files: Mapping[str, bytes], *, shared: bool
) -> str | None:
    """Brings a run's files to where they belong; gives why the run failed, if it did."""
    path = folder / run.folder
    if not shared:
        try:
            _write(path, files)
        except OSError as error:
            return f"{reason or 'its results came back'} ({path}: {error})"
    elif reason is None:
        # Network file systems may show for a while what was there before.
        deadline = time.monotonic() + _SECONDS_UNTIL_SEEN
        while RunFolder(path).state != "finished":
            if time.monotonic() > deadline:
                return f"its node has finished it, but {path} does not show that here"
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    return reason


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replaces a run folder; the status, which says whether all is there, comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.name not in files:
            path.unlink()
    for name in sorted(files, key=lambda name: name == STATUS):
        write_atomically(folder / name, files[name])


def _warn_of_what_fits_nowhere(
    runs: Sequence[PlannedRun], resources: ResourceSettings, listener: RunsListener
) -> None:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = max(cpus_of(run, resources) for run in runs), resources.gpus
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        has = "; ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes)
        listener(
            runs[0],
            "warning",
            f"a run needs {cpus:g} cpus and {gpus:g} gpus, and no node has them (the nodes have "
            f"{has}). Runs wait for a node that has; to ask for less, change `resources` in the "
            "suite",
        )


@contextmanager
def _connected(address: str) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise SuiteError(
            '--ray: Ray is not installed here; pip install "simo-cl[ray]", on every node'
        ) from None
    try:
        _try_to_reach(address)
        asked_to_stop = signal.getsignal(signal.SIGTERM)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        # Ray has put a handler of its own there, which ends the process at once.
        signal.signal(signal.SIGTERM, asked_to_stop)
    except (OSError, ValueError, RuntimeError) as error:
        raise SuiteError(
            f"--ray {address}: no Ray cluster can be reached there: {error}\n  Start one with `ray "
            "start --head`, join other machines with `ray start --address HOST:6379`, and give "
            "that address, or auto on one of its machines"
        ) from error
    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise SuiteError(
            f"--ray {address}: the cluster is lost: {error}\n  What is finished is kept; the same "
            "command goes on from there"
        ) from error
    finally:
        ray.shutdown()


def _try_to_reach(address: str) -> None:
    """Ray itself tries for minutes, and then ends the process.

    Raises:
        OSError: nothing answers there.
        ValueError: the port is no number.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_REACH).close()
