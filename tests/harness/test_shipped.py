from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from tiny import ROOT

from simo_cl.harness.shipped import write_shipped

SHIPPED = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("strategies/*.py", "benchmarks/*.yaml")
    for path in ROOT.glob(pattern)
)


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_strategies_and_suites_are_copied(tmp_path: Path) -> None:
    written = write_shipped(tmp_path / "new")

    assert files_in(tmp_path / "new") == SHIPPED
    assert sorted(path.relative_to(tmp_path / "new").as_posix() for path in written) == SHIPPED
    for name in SHIPPED:
        assert (tmp_path / "new" / name).read_bytes() == (ROOT / name).read_bytes()


def test_split_fashion_mnist_has_the_strategies_of_split_cifar10() -> None:
    of_clothes, of_photographs = (
        yaml.safe_load((ROOT / "benchmarks" / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("split_fashion_mnist", "split_cifar10")
    )

    for key in ("strategies", "model", "control", "seeds"):
        assert of_clothes[key] == of_photographs[key], key


def test_a_file_that_is_there_stays_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "simo.py").write_text("mine")

    with pytest.raises(FileExistsError, match=r"strategies/simo\.py: there already, and nothing"):
        write_shipped(tmp_path)

    assert files_in(tmp_path) == ["strategies/simo.py"]
    assert (tmp_path / "strategies" / "simo.py").read_text() == "mine"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that nothing built earlier gets into it."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("simo_cl", "strategies", "benchmarks"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    options = "--quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options.split(), "--wheel-dir", folder, "./source"],
        cwd=folder,
        check=True,
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_alone_and_all_of_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    held = sorted(name for name in names if ".dist-info/" not in name)

    package = [name for name in files_in(ROOT / "simo_cl") if "__pycache__" not in name]
    expected = [f"simo_cl/{name}" for name in package]
    # setuptools takes every module of a folder; this one is for a checkout, and `init` leaves it.
    shipped = [*SHIPPED, "benchmarks/gpu_check.py"]
    assert held == sorted([*expected, *(f"simo_cl/shipped/{name}" for name in shipped)])


def test_init_works_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    program = "import simo_cl, simo_cl.cli; print(simo_cl.__file__); simo_cl.cli.app()"

    finished = subprocess.run(
        [sys.executable, "-c", program, "init", "new"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(str(tmp_path / "installed"))
    assert files_in(tmp_path / "new") == SHIPPED
