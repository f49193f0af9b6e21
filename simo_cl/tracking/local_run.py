"""A run in a folder, from which it is sent to MLflow: by its logger, or later."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric

from simo_cl.results import write_atomically
from simo_cl.tracking import store
from simo_cl.tracking.store import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class RunSettings:
    """What a run is begun with, or gone on with.

    Attributes:
        experiment: its name; made if it is missing.
        run_name: None for one that MLflow invents.
        run_id: MLflow's identifier of a run to go on with, which has its experiment and name.
    """

    experiment: str
    run_name: str | None
    parameters: dict[str, str]
    tags: dict[str, str]
    run_id: str | None = None

    def begin(self, client: MlflowClient) -> str:
        """Begins it, or goes on with it in whatever state it is; gives MLflow's identifier."""
        from mlflow.tracking.context.registry import resolve_tags

        if self.run_id is not None:
            store.log_data(client, self.run_id, parameters=self.parameters, tags=self.tags)
            return self.run_id
        experiment = store.experiment_id(client, self.experiment)
        run = client.create_run(experiment, tags=resolve_tags(self.tags), run_name=self.run_name)
        store.log_data(client, run.info.run_id, parameters=self.parameters)
        return str(run.info.run_id)


@dataclass(frozen=True)
class File:
    """An artifact; `path` is its place among the run's."""

    path: str
    content: bytes


class FolderError(Exception):
    """The folder of a run cannot be used; the message says which and why."""


class LocalRun:
    """Numbers and files of a run, in a folder.

    Any thread may add. One takes the numbers away and one the files, and neither ever waits for a
    thread that adds: that may be one which a signal has stopped, and whose handler waits for them.

    Args:
        folder: with what is there already; `write_settings` makes a missing one.

    Attributes:
        unwritten: numbers that the disk has not taken, in memory alone.

    Raises:
        FolderError: by every method but `remove`, when the folder cannot be used: full, say.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.unwritten: list[Metric] = []
        self._adding = threading.RLock()
        self._rows: FileIO | None = None  # until a number comes
        self._sent = self._read = self._read_unwritten = 0  # up to where
        self._sent_files: dict[Path, int] = {}

    @classmethod
    def new(cls) -> LocalRun:
        """One yet to be written, in the working folder or, where nothing can be written there,
        among the system's temporary files."""
        place = Path() if os.access(".", os.W_OK) else Path(tempfile.gettempdir())
        return cls(place.absolute() / f"mlflow-unsent-{secrets.token_hex(8)}")

    @classmethod
    def kept(cls, folder: Path) -> LocalRun:
        """One that another process has left.

        Raises:
            FileNotFoundError: there is none in this folder.
        """
        if not (folder / "run.json").is_file():
            raise FileNotFoundError(
                f"{folder} keeps no run: it has no run.json. Name the folder that the warning of "
                "the MLflowLogger named, mlflow-unsent-*"
            )
        local = cls(folder)
        if local._metrics.exists():
            local._rows = local._metrics.open("rb", buffering=0)
        return local

    @property
    def _metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def write_settings(self, run: RunSettings, status: str | None) -> None:
        """Replaces what MLflow must be told of the run besides numbers and files.

        Args:
            run: with MLflow's identifier if it has been begun.
            status: in which it ends, as MLflow calls it; None for a run that somebody else ends.
        """
        text = json.dumps({**asdict(run), "status": status})
        with self._errors():
            self.folder.mkdir(mode=0o700, exist_ok=True)
            write_atomically(self.folder / "run.json", text)

    def settings(self) -> tuple[RunSettings, str | None]:
        """What was written last."""
        with self._errors():
            kept = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        status = kept.pop("status")
        return RunSettings(**kept), status

    def add(self, item: Metric | File) -> None:
        """Adds a number, or adds or replaces a file.

        Raises:
            FolderError: a file is not added; a number is, to those that are `unwritten`.
        """
        with self._errors(), self._adding:
            if isinstance(item, File):
                self._add_file(item)
                return
            try:
                self._add_row(item)
            except OSError:
                self.unwritten.append(item)
                raise

    def write_rest(self) -> None:
        """Tries once more to write what is `unwritten`."""
        with self._errors(), self._adding:
            for metric in list(self.unwritten):
                self._add_row(metric)

    def metrics(self) -> list[Metric]:
        """The numbers that are there; those of the disk in the order in which they came."""
        with self._errors():
            found = [Metric(**json.loads(row)) for row in self._read_rows().splitlines()]
            self._read_unwritten = len(self.unwritten)
            return found + self.unwritten[: self._read_unwritten]

    def remove_metrics(self) -> None:
        """Removes those that were read last."""
        self._sent = self._read
        del self.unwritten[: self._read_unwritten]
        self._read_unwritten = 0
        # Not before all can go: what came meanwhile must be there whenever the process ends.
        with self._errors(), self._if_nobody_adds() as may_remove:
            if may_remove and self._rows and self._sent == _size(self._rows) > 0:
                os.truncate(self._rows.fileno(), 0)
                self._sent = self._read = 0

    def files(self) -> dict[Path, int]:
        """All files that are there and not removed, and when each was written."""
        with self._errors():
            found = sorted(path for path in self.artifacts.rglob("*") if path.is_file())
            written = {path: path.stat().st_mtime_ns for path in found}
        return {path: at for path, at in written.items() if self._sent_files.get(path) != at}

    def remove_file(self, path: Path, written: int) -> None:
        """Removes a file, unless it has been replaced."""
        self._sent_files[path] = written
        with self._errors(), self._if_nobody_adds() as may_remove:
            if may_remove and path.stat().st_mtime_ns == written:
                path.unlink()

    def close(self) -> None:
        """Nothing can be added or read any more."""
        if self._rows is not None:
            self._rows.close()

    def remove(self) -> None:
        """Removes the folder with all that is in it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _add_file(self, file: File) -> None:
        path, partial = self.artifacts / file.path, self.folder / "file.partial"
        try:
            partial.write_bytes(file.content)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(path)  # whole, for whoever reads at this moment
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def _add_row(self, metric: Metric) -> None:
        if self._rows is None:
            self._rows = self._metrics.open("a+b", buffering=0)
        row = {name: getattr(metric, name) for name in ("key", "value", "timestamp", "step")}
        line = json.dumps(row).encode() + b"\n"
        written = 0
        try:
            while written < len(line):
                written += self._rows.write(line[written:])
        except OSError:
            if written:  # the disk became full in the middle
                os.truncate(self._rows.fileno(), _size(self._rows) - written)
            raise

    def _read_rows(self) -> bytes:
        """The lines that have not been sent; without one that is being written."""
        if self._rows is None:
            return b""
        # Adding goes to the end wherever this reads.
        with open(self._rows.fileno(), "rb", closefd=False) as stream:
            stream.seek(self._sent)
            found = stream.read(_size(self._rows) - self._sent)
        whole = found[: found.rfind(b"\n") + 1]
        self._read = self._sent + len(whole)
        return whole

    @contextlib.contextmanager
    def _if_nobody_adds(self) -> Iterator[bool]:
        """Keeps others from adding inside, where it gives True."""
        is_free = self._adding.acquire(blocking=False)
        try:
            yield is_free
        finally:
            if is_free:
                self._adding.release()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: what is no JSON, or closed
            reason = getattr(error, "strerror", None) or str(error)
            raise FolderError(f"{self.folder} cannot be used: {reason}") from error


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def send_kept(folder: str | Path, tracking_uri: str) -> str:
    """Sends what an `MLflowLogger` kept in a folder because its server did not answer.

    Args:
        folder: the folder that the logger's warning named.
        tracking_uri: the MLflow store to send to.

    Returns:
        The MLflow run's identifier: the run that had been begun, else a new one. It ends as the
        logger ended it; a run that is somebody else's to end stays as it is.

    Raises:
        TrackingError: the store cannot be used, or the place of its files: then the numbers have
            been sent.
        FileNotFoundError: the folder is none that a logger kept.
        FolderError: it cannot be read or written to.
    """
    with contextlib.closing(LocalRun.kept(Path(folder))) as local:
        run, status = local.settings()
        client = store.open_client(tracking_uri)
        with store.tracking_errors(tracking_uri):
            run_id = run.begin(client)
            # So that the same call, once more, begins no second run.
            local.write_settings(replace(run, run_id=run_id), status)
            store.log_data(client, run_id, metrics=local.metrics())
            if status is not None:
                client.set_terminated(run_id, status)
        try:
            store.log_files(client, run_id, local.artifacts)
        except store.FilesError as error:
            raise TrackingError(
                f"the numbers and the state of run {run_id} are in MLflow, but the place of its "
                f"files cannot be used: {error}\nThey stay in {local.artifacts}; once it can be "
                "used, the same call sends them"
            ) from error
    return run_id
