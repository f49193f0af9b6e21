"""A database that is lost, cut short or overwritten is made again from the run folders."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from shown import shown

from simo_cl.tracking.damage import damage, set_aside
from simo_cl.tracking.mirror import mirror
from simo_cl.tracking.store import TrackingError

if TYPE_CHECKING:
    from conftest import Exported, SuiteMaker


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def overwrite(file: Path, begin: int, length: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(begin)
        opened.write(b"x" * length)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a few bytes left": lambda file: cut(file, 0.0001),
    "cut to a third": lambda file: cut(file, 1 / 3),
    "its head overwritten": lambda file: overwrite(file, 0, 50),
    "a page overwritten": lambda file: overwrite(file, 8192, 4096),
}


@pytest.fixture
def full(suite: SuiteMaker, exported: Exported) -> SuiteMaker:
    suite.plan([("er", 0), ("er", 1), ("simo", 0)])
    suite.run("er", 0, arrays=True, model=exported.folder)
    suite.run("er", 1, state="failed", experiences=1)
    suite.run("simo", 0)
    return suite


def test_a_damaged_or_lost_store_is_made_again_and_the_damaged_one_kept(
    full: SuiteMaker, tmp_path: Path
) -> None:
    file = full.folder / "mlflow.db"
    mirror(full.folder)
    sound, before = file.read_bytes(), shown(f"sqlite:///{file}")
    for name, inflict in DAMAGES.items():
        # MLflow keeps its connection to a file of this name: each in a folder of its own.
        folder = tmp_path / name / "tiny"
        shutil.copytree(full.folder, folder)
        inflict(folder / "mlflow.db")
        broken = (folder / "mlflow.db").read_bytes()
        (folder / "mlflow.db.damaged-1").write_bytes(b"of an earlier time")

        report = mirror(folder)

        assert any("it is now mlflow.db.damaged-2" in problem for problem in report.problems), name
        assert shown(report.tracking_uri) == before, name
        assert (folder / "mlflow.db.damaged-2").read_bytes() == broken
        assert (folder / "mlflow.db.damaged-1").read_bytes() == b"of an earlier time"
    lost = tmp_path / "lost" / "tiny"
    shutil.copytree(full.folder, lost)
    (lost / "mlflow.db").unlink()
    report = mirror(lost)
    assert shown(report.tracking_uri) == before
    assert report.problems == ()
    assert file.read_bytes() == sound


def test_a_sound_store_an_empty_and_a_missing_one_are_no_damage(
    tmp_path: Path, empty_store: Path
) -> None:
    (tmp_path / "empty.db").touch()

    assert damage(empty_store) is None
    assert damage(tmp_path / "empty.db") is None
    assert damage(tmp_path / "missing.db") is None


def test_a_store_in_use_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simo_cl.tracking.damage._SECONDS_TO_WAIT", 0.05)
    file = tmp_path / "used.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE t (a)")
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="database is locked"):
            damage(file)


def test_numbers_go_on_and_the_journal_goes_along(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        for ending in ("", "-journal", "-wal"):
            (tmp_path / f"a.db{ending}").write_text(f"{number}{ending}")

        assert set_aside(tmp_path / "a.db").name == f"a.db.damaged-{number}"

        for ending in ("", "-journal", "-wal"):
            moved = tmp_path / f"a.db.damaged-{number}{ending}"
            assert moved.read_text() == f"{number}{ending}"
            assert not (tmp_path / f"a.db{ending}").exists()


def test_who_writes_keeps_others_out(suite: SuiteMaker) -> None:
    suite.plan([("er", 0)])
    suite.run("er", 0)
    lock = suite.folder / "mlflow.lock"
    with (
        FileLock(lock),
        pytest.raises(TrackingError, match=rf"another command .* \(it holds {lock}\)"),
    ):
        mirror(suite.folder, seconds_to_wait=0.05)
    assert mirror(suite.folder).children == 1
