from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny import write_suite

from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import UserFile


def write(folder: Path, **files: str) -> Path:
    """Writes ``a__b="..."`` as ``a/b.py``; gives the path of the first."""
    paths = [folder / f"{name.replace('__x', '/x')}.py" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        write_suite(path.parent, text, path.name)
    return paths[0]


def load(path: Path) -> ModuleType:
    return UserFile.read(path).load()


@pytest.mark.parametrize(
    "text",
    [
        "import _common\nVALUE = _common.VALUE",
        "import _common as c\nVALUE = c.VALUE",
        "from _common import VALUE",
        "from ._common import VALUE",
        "from . import _common\nVALUE = _common.VALUE",
        "import _pack.xinner\nVALUE = _pack.xinner.VALUE",
        "from _pack.xinner import VALUE",
        "from ._pack import xinner\nVALUE = xinner.VALUE",
        "from _pack import *",
        "def value():\n    from _common import VALUE\n    return VALUE\nVALUE = value()",
    ],
)
def test_modules_beside_a_file_are_imported_in_every_form(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, mine=text, _common="from _more import VALUE", _more="VALUE = 7")
    write(tmp_path / "_pack", __init__="from .xinner import VALUE", xinner="from .._more import *")

    assert load(path).VALUE == 7


def test_helpers_of_one_name_in_two_folders_do_not_mix(tmp_path: Path) -> None:
    late = "import _of_mine\ndef value():\n    import _of_mine\n    return _of_mine.VALUE"
    one = load(write(tmp_path / "one", mine=late, _of_mine="VALUE = 1"))
    two = load(write(tmp_path / "two", mine=late, _of_mine="VALUE = 2"))

    assert (one.value(), two.value()) == (1, 2)
    assert (one._of_mine.VALUE, two._of_mine.VALUE) == (1, 2)
    assert "_of_mine" not in sys.modules


def test_a_changed_helper_changes_the_digest_and_is_imported_anew(tmp_path: Path) -> None:
    path = write(tmp_path, mine="from _a import VALUE", _a="from _b import VALUE", _b="VALUE = 1")
    write(tmp_path, _other="no part of it")
    before = UserFile.read(path)
    assert load(path).VALUE == 1
    write(tmp_path, _other="nor now")
    assert UserFile.read(path).digest == before.digest

    write(tmp_path, _b="VALUE = 2")

    assert UserFile.read(path).digest != before.digest
    assert load(path).VALUE == 2
    assert before.load().VALUE == 1


def test_an_import_within_a_function_counts(tmp_path: Path) -> None:
    path = write(tmp_path, mine="def build():\n    import _late", _late="")

    assert list(UserFile.read(path).sources) == ["mine.py", "_late.py"]


def test_a_file_alone_has_the_digest_of_its_content(tmp_path: Path) -> None:
    path = write(tmp_path, mine="import json, torch\nfrom simo_cl import SimOLoss\n", _common="")

    file = UserFile.read(path)

    assert list(file.sources) == ["mine.py"]
    # Of `sha256sum`.
    assert file.digest == "788e9ccea8b6194d2c15dddfa75b5e4e65fa3072241cdcb4e9f47ad4b98a6147"


def test_libraries_come_before_what_lies_beside_a_file(tmp_path: Path) -> None:
    text = "import random, torch\nfrom .random import VALUE"
    path = write(tmp_path, mine=text, random="VALUE = 3")
    write(tmp_path / "torch", __init__="")

    module = load(path)

    assert module.torch is torch
    assert module.random is importlib.import_module("random")
    assert module.VALUE == 3


def test_a_class_of_a_helper_can_be_copied(tmp_path: Path) -> None:
    path = write(tmp_path, mine="from _common import Part", _common="class Part: size = 3")
    part = load(path).Part()

    assert pickle.loads(pickle.dumps(part)).size == 3


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ({"mine": "\n\nthis is no Python"}, "mine.py, line 3)"),
        ({"mine": "\nimport _common", "_common": "x = 1\ny = (\n"}, "_common.py, line 2)"),
        ({"mine": "\nimport _common", "_common": "\n\n\n1 / 0"}, "_common.py, line 4)"),
        ({"mine": "import torch\ntorch.ones(2) @ torch.ones(3)"}, "mine.py, line 2)"),
        ({"mine": "\n\nimport nothing_of_this_name"}, "mine.py, line 3)"),
    ],
)
def test_the_line_at_fault_is_the_user_s(tmp_path: Path, files: dict[str, str], shown: str) -> None:
    path = write(tmp_path, **files)

    with pytest.raises(SuiteError) as caught:
        load(path)

    assert str(caught.value).endswith(shown)
    assert "frozen" not in str(caught.value)


def test_a_model_of_a_user_s_file_can_be_exported(tmp_path: Path) -> None:
    text = (
        "import torch\nfrom _common import scaled\nclass Net(torch.nn.Module):\n"
        "    def forward(self, x):\n        return scaled(x, len(x.shape))\n"
    )
    path = write(tmp_path, mine=text, _common="def scaled(x, by):\n    return x * by\n")
    net, x = load(path).Net(), torch.ones(2, 3)

    exported = torch.export.export(net, (x,), strict=True).module()

    assert torch.equal(exported(x), torch.full((2, 3), 2.0))
