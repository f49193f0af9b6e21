"""A user's own Python file with the modules beside it, and how it is imported.

The file becomes a module of a package that is its own, and so do those beside it that it imports:
two folders may have helpers of the same name in one process.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from simo_cl.harness.suite_file import SuiteError


@dataclass(frozen=True)
class UserFile:
    """A file as it was read, and what it imports from its own folder.

    Pickled, it takes its content along: another process imports what this one has read, whatever
    has become of the file since.

    Attributes:
        path: of the file.
        sources: the Python files by their POSIX path relative to its folder; it is the first.
    """

    path: Path
    sources: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> UserFile:
        """Reads a file and what it imports from its own folder, directly or through another.

        An import of a file or package beside it counts wherever it stands in the code, as
        ``import _common`` or ``from ._common import x``. The standard library comes first, and so
        does an installed package before one that lies beside the file; a package is taken whole.
        What is imported by a computed name, and files that are no Python, are not looked for.

        Raises:
            OSError: a file cannot be read.
        """
        sources = {path.name: path.read_bytes()}
        waiting = [path.name]
        while waiting:
            name = waiting.pop()
            for top in _imported(sources[name], depth=name.count("/")):
                for file in _files_of(top, path.parent):
                    relative = file.relative_to(path.parent).as_posix()
                    if relative not in sources:
                        sources[relative] = file.read_bytes()
                        waiting.append(relative)
        return cls(path, sources)

    @property
    def digest(self) -> str:
        """SHA-256 of the file's content; with others, of all their names and contents."""
        digests = {name: hashlib.sha256(text).hexdigest() for name, text in self.sources.items()}
        if len(digests) == 1:
            return next(iter(digests.values()))
        return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()

    def load(self) -> ModuleType:
        """Imports it; unchanged, it is the same module each time, unless it failed.

        Raises:
            SuiteError: it cannot be imported.
        """
        package = self._package
        if package not in sys.modules:
            _finder.add(package, self.sources, self.path.parent)
            if _finder not in sys.meta_path:
                # Before the one that would look for a package's modules on the disk.
                sys.meta_path.insert(0, _finder)
            module = ModuleType(package, f"{self.path} and the modules beside it")
            module.__path__ = []
            sys.modules[package] = module
        try:
            return importlib.import_module(f"{package}.{_module_name(self.path.name)}")
        except BaseException as error:
            # Those beside it that were imported before it failed are executed again with it.
            self.forget()
            if not isinstance(error, (Exception, SystemExit)):
                raise
            problem = import_problem(error, self.path.parent)
            raise SuiteError(f"{self.path} cannot be imported: {problem}") from error

    def forget(self) -> None:
        """Has its modules executed again when it is imported the next time."""
        package = self._package
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]

    @property
    def _package(self) -> str:
        key = hashlib.sha256(f"{self.path.resolve()} {self.digest}".encode()).hexdigest()[:12]
        return f"simo_cl_file_{key}"


def import_problem(error: BaseException, folder: Path) -> str:
    """What went wrong while a file was imported, and in which line of the files in a folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if Path(line.filename).is_relative_to(folder)]
    last = (own or lines)[-1:]
    place = "".join(f" ({line.filename}, line {line.lineno})" for line in last)
    return f"{type(error).__name__}: {error}{place}"


def _imported(source: bytes, depth: int) -> Iterator[str]:
    """Names at the top of the folder that a file imports, in a package so many levels down."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        # Importing the file says so, with the line.
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            names, standard = [alias.name for alias in node.names], sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom) and node.level in (0, depth + 1):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            standard = frozenset() if node.level else sys.stdlib_module_names
        else:
            continue
        yield from {name.partition(".")[0] for name in names} - standard


def _files_of(top: str, folder: Path) -> Sequence[Path]:
    package, module = folder / top, folder / f"{top}.py"
    if (package / "__init__.py").is_file():
        installed = importlib.util.find_spec(top) is not None
        return [] if installed else sorted(package.rglob("*.py"))
    return [module] if module.is_file() else []


def _module_name(file: str) -> str:
    """Of a file by its path in the folder; a dot in its own name, as in ``simo_0.1.py``, would
    stand for a package."""
    stem = file.removesuffix(".py").removesuffix("/__init__")
    return stem.replace(".", "~").replace("/", ".")


@dataclass(frozen=True, eq=False)
class _Loader(SourceLoader):
    """Executes a source that was read before, so that it is what its digest says.

    Attributes:
        globals: of the module, before it is executed.
    """

    source: bytes
    path: str
    globals: Mapping[str, Any]

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str) -> bytes:
        return self.source

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self.globals)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of packages that were added, among their sources."""

    def __init__(self) -> None:
        self._loaders: dict[str, _Loader] = {}

    def add(self, package: str, sources: Mapping[str, bytes], folder: Path) -> None:
        beside = {name.partition("/")[0].removesuffix(".py") for name in sources}
        # An `import` statement looks there for what it calls.
        own_import = _import_from(package, beside - sys.stdlib_module_names)
        own_globals = {"__builtins__": {**vars(builtins), "__import__": own_import}}
        for name, source in sources.items():
            loader = _Loader(source, str(folder / name), own_globals)
            self._loaders[f"{package}.{_module_name(name)}"] = loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loader = self._loaders.get(fullname)
        if loader is None:
            return None
        return importlib.util.spec_from_file_location(fullname, loader.path, loader=loader)


_finder = _Finder()


def _import_from(package: str, beside: Collection[str]) -> Callable[..., Any]:
    """What ``import`` calls in the modules of a package: ``import x`` is ``from . import x`` if x
    is beside them."""

    def import_(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        if level == 0 and name.partition(".")[0] in beside:
            return builtins.__import__(name, {"__package__": package}, None, fromlist, 1)
        return builtins.__import__(name, globals, locals, fromlist, level)

    return import_
