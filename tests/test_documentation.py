"""What the documentation prints runs: its Python, its commands, its suites, its links.

A Python block runs alone, in an empty folder. What it needs around it, such as a strategy to train,
is set up by the function in ``SURROUNDINGS`` that is named by the file and the block's place in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
import torch
import typer
from PIL import Image
from synthetic_suite import write_suite as write_results
from tiny import ROOT, part_of_digits, planned

import simo_cl
from simo_cl.cli import app
from simo_cl.harness.execute_run import execute_run
from simo_cl.results import RunFolder

PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}


def blocks(page: str, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)
    return [text for language, text in found if language in languages]


def commands(page: str) -> list[str]:
    """The lines that call simo-cl, in blocks and in indented code."""
    indented = "\n".join(re.findall(r"^    (.*)", PAGES[page], re.MULTILINE))
    text = "\n".join([*blocks(page, "", "sh"), indented]).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith("simo-cl ")]


Patch = pytest.MonkeyPatch
Names = dict[str, Any]
Check = Callable[[Names], None]


def _torchvision(patch: Patch) -> tuple[Names, Check]:
    pictures = [(Image.new("RGB", (8, 8), (label, 0, 0)), label) for label in range(10)] * 2
    patch.setattr("torchvision.datasets.CIFAR10", lambda root, train=True: pictures)

    def check(names: Names) -> None:
        assert len(names["benchmark"].train_stream) == 5

    return {}, check


def _trained_strategy(patch: Patch) -> tuple[Names, Check]:
    patch.setattr(
        "simo_cl.streams.class_incremental.load_data", lambda name, root: part_of_digits()
    )
    trained: list[Any] = []
    strategy = SimpleNamespace(train=trained.append, eval=lambda stream: None)

    def check(names: Names) -> None:
        assert len(trained) == 5

    return {"strategy": strategy}, check


def _logger(patch: Patch) -> tuple[Names, Check]:
    """Without a store: the README's script makes one."""
    from avalanche.logging import BaseLogger

    from simo_cl import MLflowLogger

    class Logger(BaseLogger, nullcontext):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            signature(MLflowLogger).bind(*arguments, **options)
            BaseLogger.__init__(self)
            self.enter_result = self

    patch.setattr("simo_cl.MLflowLogger", Logger)
    return {}, lambda names: None


def _logged_model(patch: Patch) -> tuple[Names, Check]:
    import mlflow

    model = SimpleNamespace(predict=lambda images: {"features": images[:, 0, 0]})
    patch.setattr(mlflow, "pyfunc", SimpleNamespace(load_model=lambda uri: model))
    patch.setattr(mlflow, "set_tracking_uri", lambda uri: None)
    return {"images": torch.zeros(2, 1, 8, 8).numpy()}, lambda names: None


def _run_folder_s_model(patch: Patch) -> tuple[Names, Check]:
    import numpy as np

    class Features(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"features": images.float().mean(dim=(2, 3))}

    folder = Path("results/quickstart/runs/simo/seed0-1a2b3c4d")
    folder.mkdir(parents=True)
    images = torch.arange(64, dtype=torch.uint8).reshape(2, 2, 4, 4)
    torch.export.save(torch.export.export(Features(), (images,)), folder / "model.pt2")
    features = Features()(images)["features"].numpy()
    np.savez(folder / "model_example.npz", images=images.numpy(), features=features)
    return {}, lambda names: None


def _send_kept(patch: Patch) -> tuple[Names, Check]:
    from simo_cl.tracking import mlflow_logger

    stub = create_autospec(mlflow_logger.send_kept)
    patch.setattr(mlflow_logger, "send_kept", stub)
    return {}, lambda names: stub.assert_called_once()


def _strategy_file(patch: Patch) -> tuple[Names, Check]:
    patch.setattr("simo_cl.harness.execute_run.export_model", lambda *arguments: None)

    def check(names: Names) -> None:
        Path("strategies").mkdir()
        Path("strategies/smooth.py").write_text(blocks("docs/strategies.md", "python")[0])
        suite = "strategies: {smooth: {smoothing: 0.2}}\n"
        (run,) = planned(Path("suite"), suite, strategies=Path("strategies"))
        folder = RunFolder(Path("results") / run.folder)
        execute_run(run, part_of_digits(), folder, torch.device("cpu"), lambda taken, total: None)
        assert folder.state == "finished"

    return {}, check


def _own_data(patch: Patch) -> tuple[Names, Check]:
    from simo_cl.streams import load_data

    def check(names: Names) -> None:
        assert load_data("squares").num_classes == 4

    return {}, check


def _own_encoder(patch: Patch) -> tuple[Names, Check]:
    from simo_cl.models import build_encoder

    def check(names: Names) -> None:
        encoder = build_encoder("two_layers", channels=1, width=8)
        assert encoder(torch.zeros(2, 1, 8, 8)).shape == (2, 16)

    return {}, check


def _pretrained_encoder(patch: Patch) -> tuple[Names, Check]:
    from simo_cl.models import build_encoder

    def check(names: Names) -> None:
        encoder = build_encoder("vit_b_16", width=16, frozen=True)
        features = encoder(torch.rand(2, 3, 8, 8))
        assert features.shape == (2, 768)
        assert torch.equal(encoder(features), features)

    return {}, check


def _own_metrics(patch: Patch) -> tuple[Names, Check]:
    return _measured(patch, {"features/spread", "embedding/spread", "last_accuracy"})


def _own_read_out(patch: Patch) -> tuple[Names, Check]:
    return _measured(patch, {"bayes/average_accuracy", "bayes/forgetting"})


def _measured(patch: Patch, metrics: set[str]) -> tuple[Names, Check]:
    """Which metrics a run has with what a block registers."""
    patch.setattr("simo_cl.harness.execute_run.export_model", lambda *arguments: None)

    def check(names: Names) -> None:
        (run,) = planned(Path("suite"), "strategies: {simo: }\n")
        folder = RunFolder(Path("results") / run.folder)
        execute_run(run, part_of_digits(), folder, torch.device("cpu"), lambda taken, total: None)
        assert metrics <= set(folder.last_metrics())

    return {}, check


def _own_figure(patch: Patch) -> tuple[Names, Check]:
    from matplotlib.figure import Figure

    from simo_cl.report.figures import FIGURES

    suite = SimpleNamespace(finished_labels=("er", "simo"), values=lambda label, name: {0: 0.5})

    def check(names: Names) -> None:
        (panel,) = FIGURES["seeds"](suite).panels  # type: ignore[arg-type, union-attr]
        axes = Figure().subplots()
        panel.draw(axes)
        assert len(axes.lines) == 2

    return {}, check


def _own_loss(patch: Patch) -> tuple[Names, Check]:
    patch.setattr("simo_cl.harness.execute_run.export_model", lambda *arguments: None)

    def check(names: Names) -> None:
        Path("strategies").mkdir()
        Path("strategies/mine.py").write_text(blocks("docs/extending.md", "python")[6])
        suite = "strategies: {mine: {temperature: 0.5}}\n"
        (run,) = planned(Path("suite"), suite, strategies=Path("strategies"))
        folder = RunFolder(Path("results") / run.folder)
        execute_run(run, part_of_digits(), folder, torch.device("cpu"), lambda taken, total: None)
        assert folder.state == "finished"

    return {}, check


def _prototypes(patch: Patch) -> tuple[Names, Check]:
    def check(names: Names) -> None:
        plugin = names["Prototypes"]()
        plugin.load_state_dict({"means": {0: torch.ones(2)}})
        assert list(plugin.state_dict()["means"]) == [0]

    return {}, check


def _loss(patch: Patch) -> tuple[Names, Check]:
    def check(names: Names) -> None:
        assert names["loss"].shape == ()

    return {"embeddings": torch.randn(8, 4), "labels": torch.arange(8) % 2}, check


def _two_suites(patch: Patch) -> tuple[Names, Check]:
    import matplotlib

    matplotlib.use("agg")
    for name in ("quickstart", "photos"):
        options = {"strategies": ("er", "simo"), "seeds": (0, 1), "experiences": 3, "classes": 6}
        write_results(Path("results") / name, **options)

    return {}, lambda names: None


def _printed_whole(patch: Patch) -> tuple[Names, Check]:
    _two_suites(patch)
    printed: list[str] = []

    def check(names: Names) -> None:
        (text,) = printed
        assert "..." not in text
        assert "NaN" not in text

    return {"print": lambda shown: printed.append(str(shown))}, check


def _paper_figure(patch: Patch) -> tuple[Names, Check]:
    _two_suites(patch)

    def check(names: Names) -> None:
        assert Path("forgetting.pdf").read_bytes().startswith(b"%PDF")
        assert (
            Path("forgetting.csv").read_text().startswith("strategy,difference,low,high,p_holm\n")
        )
        assert len(names["left"].lines) == len(names["right"].collections) == 2

    return {}, check


def _run_suite(patch: Patch) -> tuple[Names, Check]:
    stub = create_autospec(simo_cl.run_suite)
    patch.setattr("simo_cl.running.run_suite", stub)
    return {"__name__": "__main__"}, lambda names: stub.assert_called_once()


SURROUNDINGS: dict[tuple[str, int], Callable[[Patch], tuple[Names, Check]]] = {
    ("README.md", 1): _loss,
    ("docs/analysis.md", 0): _paper_figure,
    ("docs/analysis.md", 1): _two_suites,
    ("docs/analysis.md", 2): _printed_whole,
    ("docs/analysis.md", 3): _run_suite,
    ("docs/data.md", 0): _torchvision,
    ("docs/data.md", 1): _trained_strategy,
    ("docs/extending.md", 0): _own_data,
    ("docs/extending.md", 1): _own_encoder,
    ("docs/extending.md", 2): _pretrained_encoder,
    ("docs/extending.md", 3): _own_metrics,
    ("docs/extending.md", 4): _own_read_out,
    ("docs/extending.md", 5): _own_figure,
    ("docs/extending.md", 6): _own_loss,
    ("docs/metrics.md", 0): _logger,
    ("docs/mlflow.md", 0): _logged_model,
    ("docs/mlflow.md", 1): _run_folder_s_model,
    ("docs/mlflow.md", 2): _logger,
    ("docs/mlflow.md", 3): _send_kept,
    ("docs/strategies.md", 0): _strategy_file,
    ("docs/strategies.md", 1): _prototypes,
}
# It has a test of its own, which looks at what it prints.
TESTED_ELSEWHERE = {("README.md", 0)}
PYTHON = [
    (page, number)
    for page in PAGES
    for number in range(len(blocks(page, "python")))
    if (page, number) not in TESTED_ELSEWHERE
]


@pytest.mark.parametrize(("page", "number"), PYTHON)
def test_python_runs_as_printed(
    page: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names, check = SURROUNDINGS.get((page, number), lambda patch: ({}, lambda names: None))(
        monkeypatch
    )
    names = {"__name__": "documented", **names}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    text = blocks(page, "python")[number].replace('"cuda"', repr(device))

    exec(compile(text, f"{page}, block {number}", "exec"), names)

    check(names)


def test_surroundings_are_of_blocks_that_are_there() -> None:
    assert SURROUNDINGS.keys() <= set(PYTHON)


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in commands(page)}))
def test_commands_are_understood(line: str) -> None:
    parse(line)


@pytest.mark.parametrize(
    "line", ["simo-cl run x.yaml --nope", "simo-cl nope", "simo-cl run", "simo-cl data check --x"]
)
def test_others_are_not(line: str) -> None:
    # Typer's own kind of exception, which it does not show, across its versions.
    with pytest.raises(Exception, match=r"No such (option|command)|Missing parameter"):
        parse(line)


def parse(line: str) -> None:
    """Has the command line's own parser read a command, without running it."""
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("simo-cl", list(words), resilient_parsing=True)
    context.resilient_parsing = False
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = type(context)(command, info_name=name, parent=context)
    command.parse_args(context, list(words))


@pytest.mark.parametrize(
    "text", [text for page in PAGES for text in blocks(page, "yaml")], ids=lambda text: text[:20]
)
def test_suites_can_be_planned(text: str, tmp_path: Path) -> None:
    strategies = "" if "strategies:" in text else "strategies: {er: }\n"
    assert planned(tmp_path, text + strategies, settings="")


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_file_and_heading_is_there(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", PAGES[page]):
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.relative_to(ROOT).as_posix()), f"{target}#{anchor}"


def anchors(page: str) -> set[str]:
    """Of its headings, as GitHub makes them."""
    prose = re.sub("^```.*?^```", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    headings = re.findall("^#+ (.*)", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
