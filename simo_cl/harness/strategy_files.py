"""Find the strategy files, and load one."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from simo_cl.harness.settings import StrategySettings
from simo_cl.harness.suite_file import (
    KeyPath,
    Locations,
    SuiteError,
    explain_validation,
    plain,
)
from simo_cl.harness.user_files import UserFile, import_problem
from simo_cl.registry import did_you_mean

_PROTOCOLS = ("batch", "online")


@dataclass(frozen=True)
class StrategyFile:
    """A strategy as its file gives it.

    A file has a docstring and ``build(setup, settings)``, which gives an Avalanche strategy. It may
    have a class ``Settings`` that extends ``StrategySettings``, and a ``SEARCH_SPACE`` that maps
    settings to lists of values. It may set ``JOINT = True`` (train on all classes at once; or have
    ``joint: bool`` among its settings),
    ``PROTOCOLS`` (those of ``stream.protocol`` that it is for; default both), ``FEATURE_LAYER``
    (the submodule that gives the features; default "encoder"), ``EMBEDDING_LAYER`` (the submodule
    that maps them to the space of the loss; by default an ``EmbeddingModel`` has one), ``AUGMENTS =
    True`` (it changes images itself, so that a frozen encoder's features cannot be computed
    beforehand) and define
    ``memory(strategy)`` (its replay memory as a data set, where the strategy has neither a
    ``storage_policy`` nor a ``memory_dataset``).

    Attributes:
        file: with the modules beside it that it imports, as they were loaded.
        embedding_layer: that it names; None leaves it to the model.
    """

    file: UserFile
    module: ModuleType = field(repr=False)
    settings_model: type[StrategySettings]
    search_space: dict[str, list[Any]]
    joint: bool
    protocols: tuple[str, ...]
    feature_layer: str
    embedding_layer: str | None
    augments: bool

    def __reduce__(self) -> tuple[Any, ...]:
        # A module has no pickle: another process imports the same content.
        return import_strategy, (self.file,)

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def digest(self) -> str:
        return self.file.digest

    def settings(
        self, given: dict[str, Any], locations: Locations, within: KeyPath = ()
    ) -> StrategySettings:
        """The strategy's settings with defaults filled in.

        Args:
            given: those that differ.
            locations: where they were given.
            within: path of the key whose value they are.

        Raises:
            SuiteError: names the key, what was given and what is allowed.
        """
        model = self.settings_model
        if "joint" in given and "joint" not in model.model_fields:
            key = (*within, "joint")
            raise SuiteError(
                f"{locations.of(*key)}: {'.'.join(key)}: {self.name} cannot train on all classes "
                "at once; the contrastive strategies can, and `joint` does with cross-entropy"
            )
        try:
            return model.model_validate(given)
        except ValidationError as error:
            raise SuiteError(explain_validation(error, model, locations, within)) from None


def strategies_folder(suite: Path | None, given: Path | None) -> Path:
    """The folder with the strategy files: the one given, the one beside the suite's folder, or
    ``strategies`` in the working directory.

    Raises:
        SuiteError: there is none.
    """
    beside = [suite.resolve().parent.parent / "strategies"] if suite is not None else []
    candidates = [given] if given is not None else [*beside, Path("strategies")]
    for folder in candidates:
        if folder.is_dir():
            return folder
    looked = ", ".join(str(folder) for folder in candidates)
    raise SuiteError(
        f"no folder with strategy files (looked in {looked}); name one with --strategies-dir, or "
        "write the shipped ones with `simo-cl init DIR`"
    )


def strategy_names(folder: Path) -> list[str]:
    """Identifiers of the strategies in a folder: the names of its Python files."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def strategy_path(name: str, folder: Path, where: str = "") -> Path:
    """The file of a strategy.

    Raises:
        SuiteError: there is none; the message begins with ``where``.
    """
    names = strategy_names(folder)
    if name not in names:
        raise SuiteError(
            f"{where}{': ' if where else ''}no strategy {name!r} in {folder}; there are "
            f"{', '.join(names)}.{did_you_mean(name, names)} --strategies-dir names another folder."
        )
    return folder / f"{name}.py"


def strategy_summary(path: Path) -> str:
    """The first line of a strategy file's docstring, without importing the file.

    Raises:
        SuiteError: the file is no Python.
    """
    try:
        docstring = ast.get_docstring(ast.parse(path.read_bytes(), str(path))) or ""
    except (SyntaxError, ValueError) as error:
        raise SuiteError(import_problem(error, path.parent)) from None
    return docstring.partition("\n")[0]


def setting_names(folder: Path, strategy: str) -> set[str]:
    """Names of a strategy's own settings, as far as they can be read without importing its file."""
    return _fields(folder / f"{strategy}.py", "Settings")


def _fields(path: Path, name: str) -> set[str]:
    """Names of the annotated attributes of a class, and of those that it extends."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return set()
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            own = {
                a.target.id
                for a in node.body
                if isinstance(a, ast.AnnAssign) and isinstance(a.target, ast.Name)
            }
            bases = (base.id for base in node.bases if isinstance(base, ast.Name))
            return own.union(*(_fields(path, base) for base in bases))
        if isinstance(node, ast.ImportFrom) and any(a.name == name for a in node.names):
            origin = _origin(node.module or "") if node.level == 0 else None
            return set() if origin is None else _fields(origin, name)
    return set()


def _origin(module: str) -> Path | None:
    """Its file, if there is one."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception:
        # The packages that it is in are imported, whatever comes of that.
        return None
    return Path(spec.origin) if spec and spec.origin else None


def load_strategy(name: str, folder: Path, where: str = "") -> StrategyFile:
    """Reads and imports a strategy file.

    Raises:
        SuiteError: there is no such file, or it is no strategy's; the message begins with
            ``where``.
    """
    path = strategy_path(name, folder, where)
    try:
        return import_strategy(UserFile.read(path))
    except SuiteError as error:
        raise SuiteError(f"{where}: {error}" if where else str(error)) from error


def import_strategy(file: UserFile) -> StrategyFile:
    """Imports a strategy file that was read.

    Raises:
        SuiteError: it cannot be imported, or lacks what a strategy file must have.
    """
    module, path = file.load(), file.path
    if not callable(getattr(module, "build", None)):
        raise SuiteError(
            f"{path} lacks build(setup, settings), which gives a strategy; see docs/strategies.md"
        )
    model = getattr(module, "Settings", StrategySettings)
    if not (isinstance(model, type) and issubclass(model, StrategySettings)):
        raise SuiteError(f"{path}: Settings must extend StrategySettings")
    if "strategy" in model.model_fields:
        raise SuiteError(f"{path}: Settings must not have `strategy`: in a suite it names the file")
    space = getattr(module, "SEARCH_SPACE", {})
    if not (isinstance(space, dict) and all(isinstance(v, (list, tuple)) for v in space.values())):
        raise SuiteError(f"{path}: SEARCH_SPACE must map settings to lists of values")
    protocols = getattr(module, "PROTOCOLS", _PROTOCOLS)
    if not (isinstance(protocols, (list, tuple)) and all(p in _PROTOCOLS for p in protocols)):
        raise SuiteError(
            f'{path}: PROTOCOLS is {protocols!r}; it must be ("batch",) or ("online",), with the '
            "comma, or be left out for both"
        )
    return StrategyFile(
        file,
        module,
        settings_model=model,
        search_space=plain(space, f"{path}: SEARCH_SPACE"),
        joint=bool(getattr(module, "JOINT", False)),
        protocols=tuple(protocols),
        feature_layer=str(getattr(module, "FEATURE_LAYER", "encoder")),
        embedding_layer=getattr(module, "EMBEDDING_LAYER", None),
        augments=bool(getattr(module, "AUGMENTS", False)),
    )
