"""Writing to MLflow that ends in the middle: by a lost connection, or a killed process."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from processes import run_script
from shown import shown

from simo_cl.tracking.mirror import mirror
from simo_cl.tracking.store import TrackingError, open_client

if TYPE_CHECKING:
    from conftest import Exported, SuiteMaker

WRITES = [
    *("create_experiment", "set_experiment_tag", "create_run", "delete_run", "update_run"),
    *("set_terminated", "log_batch", "log_artifacts", "set_tag", "log_outputs"),
    *("create_logged_model", "log_model_artifacts", "set_logged_model_tags"),
    *("finalize_logged_model", "delete_logged_model"),
]


@pytest.fixture
def full(suite: SuiteMaker, exported: Exported) -> SuiteMaker:
    """Runs of all kinds: one with everything, one that failed, one that is going on."""
    suite.plan([("er", 0), ("er", 1), ("simo", 0)])
    suite.run("er", 0, arrays=True, model=exported.folder)
    suite.run("er", 1, state="failed", experiences=1)
    suite.run("simo", 0, state="running", experiences=2)
    return suite


@pytest.fixture
def undisturbed(full: SuiteMaker, tmp_path: Path, empty_store: Path) -> Callable[[], Any]:
    """What a store shows that is written in one go."""

    def write() -> Any:
        uri = f"sqlite:///{tmp_path}/undisturbed.db"
        shutil.copy(empty_store, tmp_path / "undisturbed.db")
        mirror(full.folder, uri)
        return shown(uri)

    return write


class ConnectionIsLost:
    """Lets so many writing calls through; the answer to the last of them does not come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls_left = 0
        for name in WRITES:
            monkeypatch.setattr(MlflowClient, name, self._counted(getattr(MlflowClient, name)))

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self.calls_left -= 1
            result = method(*arguments, **more) if self.calls_left >= 0 else None
            if self.calls_left <= 0:
                raise MlflowException("the connection is lost")
            return result

        return call


def test_a_connection_lost_again_and_again_leaves_neither_gap_nor_duplicate(
    full: SuiteMaker, undisturbed: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = 0
    with monkeypatch.context() as patch:
        connection = ConnectionIsLost(patch)
        while True:
            connection.calls_left = losses + 1
            try:
                report = mirror(full.folder)
                break
            except TrackingError:
                losses += 1

    assert losses > 7  # each attempt makes one call more than the last
    assert shown(report.tracking_uri) == undisturbed()
    assert mirror(full.folder).written == 0


def test_a_process_killed_while_it_makes_the_store_leaves_none_or_a_whole_one(
    suite_without_store: SuiteMaker, tmp_path: Path
) -> None:
    """MLflow itself would leave some tables, on which it then fails for ever."""
    file = suite_without_store.folder / "mlflow.db"
    script = f"""
        import sqlite3, os, signal
        from alembic.operations import Operations
        from simo_cl.tracking.store import open_client

        def create_table(*arguments, **more):
            os.kill(os.getpid(), signal.SIGKILL)

        Operations.create_table = create_table
        open_client("sqlite:///{file}")
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    killed = run_script(["script.py"], tmp_path)

    assert killed.returncode == -9
    assert not file.exists()
    open_client(f"sqlite:///{file}")
    assert file.stat().st_size > 0
