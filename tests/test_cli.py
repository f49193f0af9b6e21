"""The command as a user gives it, on tiny suites."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from simo_cl.cli import app

ROOT = Path(__file__).resolve().parent.parent
DEAD_SERVER = "http://127.0.0.1:9"

SUITE = """\
data: {name: digits}
stream: {experiences: 2}
model: {encoder: small_cnn, width: 4}
training: {batch_size: 32, epochs: 0.2, threads: 1}
memory: {size: 40}
evaluation: {samples_per_class: 4}
strategies:
"""

RAISES = '''"""It cannot be built."""

from simo_cl.harness.settings import StrategySettings as Settings

SEARCH_SPACE = {"lr": [0.1, 0.2]}


def build(setup, settings):
    raise RuntimeError("no such luck")
'''

INTERRUPTED = RAISES.replace('RuntimeError("no such luck")', "KeyboardInterrupt")

DIVERGES = '''"""Its loss is NaN as soon as it sees the classes from 5 on."""

import torch
from avalanche.training.supervised import Naive

from simo_cl.harness.settings import StrategySettings as Settings

SEARCH_SPACE = {}


class Loss(torch.nn.CrossEntropyLoss):
    def forward(self, scores, labels):
        return super().forward(scores, labels) * (torch.nan if labels.max() >= 5 else 1)


def build(setup, settings):
    arguments = setup.stock_arguments(setup.classifier(), settings.lr)
    return Naive(**arguments, criterion=Loss(), plugins=[setup.budget()])
'''


class Project:
    """A folder of a user's own with suites, strategies and results, and the command in it."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.suites = folder / "benchmarks"
        self.strategies = folder / "strategies"
        self.suites.mkdir(parents=True)
        self.strategies.mkdir()
        for name in ("finetune", "er", "simo"):
            shutil.copy(ROOT / "strategies" / f"{name}.py", self.strategies)
        for name, text in (
            ("raises", RAISES),
            ("interrupted", INTERRUPTED),
            ("diverges", DIVERGES),
        ):
            (self.strategies / f"{name}.py").write_text(text)

    def suite(self, *strategies: str, name: str = "tiny") -> Path:
        path = self.suites / f"{name}.yaml"
        path.write_text(SUITE + "".join(f"  {strategy}:\n" for strategy in strategies))
        return path

    def call(self, *arguments: str | Path) -> Result:
        results = () if arguments[0] in ("list", "init", "data") else ("--results", self.results)
        words = [str(word) for word in (*arguments, *results)]
        return CliRunner().invoke(app, words, env={"COLUMNS": "200"})

    def run_folder(self, suite: str, strategy: str, seed: int = 0) -> Path:
        (folder,) = (self.results / suite / "runs" / strategy).glob(f"seed{seed}-*")
        return folder

    def state(self, suite: str, strategy: str, seed: int = 0) -> str:
        path = self.run_folder(suite, strategy, seed) / "status.json"
        return str(json.loads(path.read_text())["state"])

    def planned(self, suite: str) -> list[tuple[str, int]]:
        plan = json.loads((self.results / suite / "plan.json").read_text())
        return [(run["strategy"], run["seed"]) for run in plan["runs"]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Runs choose their number of threads for the whole process; the next test gets one again."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _busy_machine() -> Iterator[None]:
    """The process that writes to MLflow may take its time to begin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simo_cl.tracking.follow.CLOSE_SECONDS", 150.0)
        yield


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Result]:
    """A suite in which one strategy cannot be built, one diverges, and one is fine."""
    project = Project(tmp_path_factory.mktemp("mixed"))
    suite = project.suite("raises", "diverges", "finetune", name="mixed")
    return project, project.call("run", suite)


class TestARunWithFailures:
    def test_says_what_failed_and_why_and_exits_with_1(self, mixed: tuple[Project, Result]) -> None:
        _, result = mixed

        assert result.exit_code == 1
        assert "Failed: raises, seed 0: RuntimeError: no such luck (traceback in " in result.output
        assert (
            "Failed: diverges, seed 0: DivergedError: the loss of Naive became NaN or infinite"
            in result.output
        )

    def test_goes_on_with_the_other_runs(self, mixed: tuple[Project, Result]) -> None:
        project, result = mixed

        assert "[3/3] finetune, seed 0: average accuracy" in result.output
        assert project.state("mixed", "finetune") == "finished"
        summary = pd.read_csv(project.results / "mixed" / "summary.csv")
        assert summary["strategy"].tolist() == ["finetune"]
        page = (project.results / "mixed" / "report.html").read_text()
        assert "no such luck" in page

    def test_keeps_what_was_written(self, mixed: tuple[Project, Result]) -> None:
        project, _ = mixed
        folder = project.run_folder("mixed", "diverges")

        assert project.state("mixed", "diverges") == "failed"
        (line,) = (folder / "metrics.jsonl").read_text().splitlines()
        assert json.loads(line)["experience"] == 0
        assert "DivergedError" in (folder / "log.txt").read_text()
        raises = json.loads((project.run_folder("mixed", "raises") / "status.json").read_text())
        assert raises["state"] == "failed"
        assert raises["error"]["message"] == "no such luck"
        assert "in build" in raises["error"]["traceback"]

    def test_shows_no_warning_of_a_library(self, mixed: tuple[Project, Result]) -> None:
        assert "Warning" not in mixed[1].output

    def test_can_be_looked_at_in_mlflow(self, mixed: tuple[Project, Result]) -> None:
        project, _ = mixed

        assert (project.results / "mixed" / "mlflow.db").is_file()

    def test_ui_says_that_its_port_is_taken(self, mixed: tuple[Project, Result]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            result = mixed[0].call("ui", "mixed", "--port", port, "--no-browser")

        assert result.exit_code == 2
        assert f"Error: cannot listen on 127.0.0.1:{port}" in result.output

    def test_report_can_be_written_again(self, mixed: tuple[Project, Result]) -> None:
        result = mixed[0].call("report", "mixed")

        assert result.exit_code == 0
        assert "finetune" in result.output
        assert "report.html" in result.output


def test_a_suite_runs_what_is_missing_and_only_that(project: Project) -> None:
    suite = project.suite("finetune", "er")
    first = project.call("run", suite, "--strategies", "finetune")
    assert first.exit_code == 0, first.output
    assert "[1/1] finetune, seed 0: average accuracy" in first.output
    assert project.planned("tiny") == [("finetune", 0)]
    written = (project.run_folder("tiny", "finetune") / "status.json").stat().st_mtime_ns

    silent = project.call(
        "run", suite, "--strategies", "finetune", "--seeds", "0,2", "--tracking-uri", DEAD_SERVER
    )

    assert silent.exit_code == 0
    assert "1 of 2 runs are finished already." in silent.output
    assert "[1/1] finetune, seed 2: average accuracy" in silent.output
    assert silent.output.count("Warning: MLflow") == 1
    assert f"MLflow is not up to date: the MLflow server {DEAD_SERVER} does not answer" in (
        silent.output
    )
    assert f"simo-cl sync {project.results / 'tiny'} --tracking-uri {DEAD_SERVER}" in silent.output
    assert project.planned("tiny") == [("finetune", 0), ("finetune", 2)]
    runs = pd.read_csv(project.results / "tiny" / "runs.csv")
    assert runs["seed"].tolist() == [0, 2]
    same = (project.run_folder("tiny", "finetune") / "status.json").stat().st_mtime_ns
    assert same == written


def test_what_mlflow_lacks_is_brought_there_by_sync(project: Project) -> None:
    from mlflow import MlflowClient

    suite = project.suite("finetune")
    behind = project.call("run", suite, "--tracking-uri", DEAD_SERVER)
    assert behind.exit_code == 0, behind.output

    refused = project.call("sync", suite, "--tracking-uri", DEAD_SERVER)
    done = project.call("sync", suite)
    again = project.call("sync", "tiny")

    assert refused.exit_code == 2
    assert f"Error: the MLflow server {DEAD_SERVER} does not answer" in refused.output
    assert "shows 1 runs of 1 strategies; 2 entries were new or had changed" in done.output
    assert "0 entries were new or had changed" in again.output
    client = MlflowClient(f"sqlite:///{project.results}/tiny/mlflow.db")
    identifier = client.get_experiment_by_name("tiny").experiment_id
    (run,) = client.search_runs([identifier], "attributes.run_name = 'finetune seed 0'")
    lines = (project.run_folder("tiny", "finetune") / "metrics.jsonl").read_text().splitlines()
    rows = client.get_metric_history(run.info.run_id, "average_accuracy")
    stored = [json.loads(line) for line in lines]
    assert [(row.step, row.timestamp, row.value) for row in rows] == [
        (line["experience"], int(line["time"] * 1000), line["metrics"]["average_accuracy"])
        for line in stored
    ]


def test_what_opens_a_server_is_neither_printed_nor_stored(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "http://me:pass/w%40rd@127.0.0.1:9/base?token=t0ken&user=me"
    words = ["run", str(project.suite("finetune", "raises")), f"--tracking-uri={uri}"]
    monkeypatch.setattr(sys, "argv", ["simo-cl", *words])

    results = [
        project.call(*words),
        project.call("sync", "tiny", "--tracking-uri", uri),
        project.call("ui", "tiny", "--tracking-uri", uri, "--no-browser"),
        project.call("sync", "tiny"),
    ]

    assert "simo-cl sync" in results[0].output
    assert [result.exit_code for result in results] == [1, 2, 2, 0]
    written = [path.read_bytes() for path in project.results.rglob("*") if path.is_file()]
    assert any(b"***@127.0.0.1:9/base?token=***&user=***" in content for content in written)
    for text in (*(result.output.encode() for result in results), *written):
        assert not any(secret in text for secret in (b"pass/w", b"w%40rd", b"w@rd", b"t0ken"))


def test_a_suite_in_which_everything_fails_says_so(project: Project) -> None:
    result = project.call("run", project.suite("raises"), "--tracking-uri", DEAD_SERVER)

    assert result.exit_code == 1
    assert "Failed: raises, seed 0: RuntimeError: no such luck" in result.output
    assert "Traceback" not in result.output


def test_an_interrupted_suite_goes_on_from_there(project: Project) -> None:
    suite = project.suite("interrupted", "finetune")

    result = project.call("run", suite, "--tracking-uri", DEAD_SERVER)

    assert result.exit_code == 130
    assert "the same command goes on from there" in result.output
    assert project.state("tiny", "interrupted") == "running"
    preview = project.call("run", suite, "--dry-run")
    assert preview.exit_code == 0
    assert "running" in preview.output
    assert "missing" in preview.output


def test_dry_run_says_what_would_run_and_writes_nothing(project: Project) -> None:
    result = project.call("run", project.suite("er", "simo"), "--dry-run", "--seeds", "0,1")

    assert result.exit_code == 0
    assert "4 runs in" in result.output
    assert "simo, seed 1" in result.output
    assert "left to do: at least" in result.output
    assert not project.results.exists()


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        ("memory:>memry:", "", "tiny.yaml:5: unknown key 'memry'; allowed here: .*'memory'?"),
        ("epochs: 0.2>epochs: few", "", "tiny.yaml:4: training.epochs is 'few' (a text): must be"),
        ("  er:>  err:", "", "tiny.yaml:8: no strategy 'err' in .*Did you mean 'er'?"),
        (
            "  er:>  er: {lrr: 1}",
            "",
            "tiny.yaml:8: unknown key 'strategies.er.lrr'; allowed here: lr.",
        ),
        (
            "digits>digit",
            "",
            "tiny.yaml:1: data.name is 'digit', which is no data set; there are digits, cifar10, "
            "cifar100, mnist, fashion_mnist, image_folder. Did you mean 'digits'?",
        ),
        (
            "small_cnn>small_cn",
            "",
            "tiny.yaml:3: model.encoder is 'small_cn', which is no encoder; there are resnet18, "
            "slim_resnet18, small_cnn. Did you mean 'small_cnn'?",
        ),
        (
            "threads: 1>augment: [crop, flop]",
            "",
            "tiny.yaml:4: training.augment: The augmentation 'flop' does not exist here. "
            "Did you mean 'flip'?",
        ),
        (
            "experiences: 2>experiences: 11",
            "",
            "tiny.yaml:2: stream.experiences is 11; digits has 10 classes",
        ),
        (
            "experiences: 2>class_order: [1, 0]",
            "",
            "tiny.yaml:2: stream.class_order is [1, 0]; it must hold every label of digits once",
        ),
        ("size: 40>size: 9", "", "tiny.yaml:5: memory.size is 9; digits has 10 classes"),
        ("digits>cifar10", "--data-root nowhere", "cifar10: not found. Looked for"),
        ("", "--set memory.size=9", "--set memory.size=9: memory.size is 9; digits has 10"),
        ("", "--set model.encoder=resnet", "--set model.encoder=resnet: model.encoder is 'resnet'"),
        ("", "--set training.epochs", "--set training.epochs: write key=value"),
        ("", "--seeds 0,one", "--seeds is '0,one'; give different whole numbers from 0 on"),
        ("", "--seeds 1,1", "--seeds is '1,1'"),
        ("", "--seeds=-1", "--seeds is '-1'"),
        ("", "--seeds=", "--seeds is ''"),
        (
            "",
            "--strategies simmo",
            "--strategies: .* has no strategy 'simmo'; it has er, simo. Did",
        ),
        ("", "--device gpu", "--device: device 'gpu' cannot be used here"),
        ("", "--plugins mine.py", "--plugins mine.py: no such file"),
        ("", "--strategies-dir nowhere", "no folder with strategy files (looked in nowhere)"),
    ],
)
def test_what_cannot_start_is_explained_and_writes_nothing(
    project: Project, edit: str, options: str, message: str
) -> None:
    suite = project.suite("er", "simo")
    old, _, new = edit.partition(">")
    assert old in suite.read_text()
    suite.write_text(suite.read_text().replace(old, new, 1) if edit else suite.read_text())

    result = project.call("run", suite, *options.split())

    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    begin, _, end = message.partition(".*")
    assert begin in result.output
    assert end in result.output
    assert not project.results.exists()


def test_a_broken_data_file_is_named(project: Project) -> None:
    data = project.results.parent / "data"
    (data / "cifar10").mkdir(parents=True)
    for name in ("train-0.parquet", "test-0.parquet"):
        (data / "cifar10" / name).write_bytes(b"PAR1 but no more")
    suite = project.suite("finetune")
    suite.write_text(suite.read_text().replace("digits", "cifar10"))

    result = project.call("run", suite, "--data-root", data)

    assert result.exit_code == 2
    assert ".parquet" in result.output
    assert not project.results.exists()


def test_tune_draws_trials_and_prints_the_best_for_the_suite(project: Project) -> None:
    suite = project.suite("simo")
    arguments = ("tune", suite, "--strategy", "er", "--trials", "2")

    first = project.call(*arguments)
    again = project.call(*arguments)

    assert first.exit_code == 0, first.output
    content = json.loads((project.results / "tiny" / "tuning" / "er.json").read_text())
    scores = [trial["average_accuracy"] for trial in content["trials"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert content["run"]["stream"]["evaluate_on"] == "validation"
    best = yaml.safe_load(first.output.partition("put into the suite:")[2])
    assert best == {"er": {"lr": content["trials"][0]["lr"]}}
    assert "2 of 2 runs are finished already." in again.output
    assert not (project.results / "tiny" / "plan.json").exists()


def test_tune_says_when_every_trial_failed(project: Project) -> None:
    result = project.call("tune", project.suite("er"), "--strategy", "raises", "--trials", "2")

    assert result.exit_code == 1
    assert "Every trial failed" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--strategy err --trials 1", "--strategy: no strategy 'err' in .*Did you mean 'er'?"),
        ("--strategy er --trials 5", "--trials is 5; the search space of 'er' has 4 points"),
        ("--strategy er --trials 1 --set data.name=digit", "data.name is 'digit', which is no"),
        ("--strategy er --trials 1 --set seeds=[1000000]", "1000000, which is the seed of tuning"),
    ],
)
def test_what_cannot_be_tuned_is_explained(project: Project, options: str, message: str) -> None:
    result = project.call("tune", project.suite("er"), *options.split())

    assert result.exit_code == 2
    assert all(part in result.output for part in message.split(".*"))
    assert not project.results.exists()


PLUGIN = """
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from simo_cl.models import register_encoder
from simo_cl.streams import DataSet, Images, register_data_source


@dataclass
class Shape:
    size: int
    more: Shape | None = None


def load(root):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    images = torch.randint(0, 256, (200, 1, 4, 4), generator=generator, dtype=torch.uint8)
    both = Images(images, labels)
    return DataSet("noise", both, both, tuple("abcdefghij"), "noise")


def flat(channels, width, norm):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, width)), width + WRONG


register_data_source("NAME_data", load, description="noise", how_to_get="It is drawn.")
register_encoder("NAME_encoder", flat)
"""


@pytest.fixture
def plugin(project: Project) -> Callable[..., tuple[str, ...]]:
    """Writes a plug-in file with names of its own; gives the options that use it."""

    def write(name: str, wrong: int = 0) -> tuple[str, ...]:
        path = project.suites.parent / f"{name}.py"
        path.write_text(PLUGIN.replace("NAME", name).replace("WRONG", str(wrong)))
        settings = (f"data.name={name}_data", f"model.encoder={name}_encoder")
        return ("--plugins", str(path), "--set", settings[0], "--set", settings[1])

    return write


def test_a_user_s_own_data_and_encoder_are_used(
    project: Project, plugin: Callable[..., tuple[str, ...]]
) -> None:
    options = ("--strategy", "er", "--trials", "1", *plugin("own"))

    result = project.call("tune", project.suite("er"), *options)

    assert result.exit_code == 0, result.output
    content = json.loads((project.results / "tiny" / "tuning" / "er.json").read_text())
    assert content["run"]["data"] == {"name": "own_data"}
    assert content["run"]["model"]["encoder"] == "own_encoder"


def test_an_encoder_that_is_not_what_it_says_is_refused(
    project: Project, plugin: Callable[..., tuple[str, ...]]
) -> None:
    result = project.call("run", project.suite("er"), *plugin("wrong", wrong=1))
    other_size = project.call(
        "run", project.suite("er"), *plugin("other"), "--set", "data.name=digits"
    )

    assert result.exit_code == 2
    assert "says that it has 5 features but maps 2 images to (2, 4)" in result.output
    assert other_size.exit_code == 2
    assert "cannot embed the images of digits (1 x 8 x 8)" in other_size.output
    assert not project.results.exists()


def test_a_broken_plugin_is_explained(project: Project) -> None:
    path = project.suites.parent / "mine.py"
    path.write_text("import torch\n\nimport no_such_module\n")

    result = project.call("run", project.suite("er"), "--plugins", path)

    assert result.exit_code == 2
    assert "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'" in (
        result.output
    )
    assert "mine.py, line 3" in result.output


def test_report_and_ui_say_what_has_results(project: Project) -> None:
    (project.results / "other").mkdir(parents=True)
    (project.results / "other" / "plan.json").write_text("{}")

    for command in ("report", "ui"):
        result = project.call(command, project.suite("er"))

        assert result.exit_code == 2
        assert "no results of" in result.output
        assert "other" in result.output


def test_a_folder_for_results_that_cannot_be_made_is_named(project: Project) -> None:
    project.results.write_text("a file")

    result = project.call("run", project.suite("finetune"))

    assert result.exit_code == 2
    assert str(project.results) in result.output


def test_list_shows_strategies_suites_and_data(project: Project) -> None:
    project.suite("er", name="good")
    (project.suites / "bad.yaml").write_text("strategies: [er]")

    result = project.call(
        "list", "--suites", project.suites, "--strategies-dir", ROOT / "strategies"
    )

    assert result.exit_code == 0
    for path in (ROOT / "strategies").glob("*.py"):
        assert path.stem in result.output
    assert "Experience replay (Chaudhry et al. 2019)" in result.output
    assert "good.yaml" in result.output
    assert "cannot be read: " in result.output
    assert "fashion_mnist" in result.output


def test_init_writes_what_can_be_run_there(project: Project, monkeypatch: Any) -> None:
    folder = project.results.parent / "new"

    first = project.call("init", folder)
    again = project.call("init", folder)
    monkeypatch.chdir(folder)
    preview = project.call("run", "benchmarks/quickstart.yaml", "--dry-run")

    assert first.exit_code == 0
    for name in ("benchmarks", "strategies"):
        shipped = {path.name for path in (ROOT / name).iterdir() if path.suffix in (".py", ".yaml")}
        assert {path.name for path in (folder / name).iterdir()} == shipped
    assert again.exit_code == 2
    assert "there already" in again.output
    assert preview.exit_code == 0
    assert "24 runs in" in preview.output


def test_data_check_says_what_is_found(project: Project, tmp_path: Path) -> None:
    result = project.call("data", "check", "--data-root", tmp_path)

    assert result.exit_code == 0
    lines = {line.split("│")[1].strip(): line for line in result.output.splitlines() if "│" in line}
    assert "yes" in lines["digits"]
    assert "no" in lines["cifar100"]


def test_data_fetch_says_what_cannot_be_fetched(project: Project) -> None:
    for name, message in (
        ("digits", "digits: nothing to download. It comes with scikit-learn."),
        ("cifar11", "Did you mean 'cifar10'?"),
    ):
        result = project.call("data", "fetch", name)

        assert result.exit_code == 2
        assert message in result.output


HEAVY = ("torch", "avalanche", "mlflow", "matplotlib", "pandas", "sklearn", "scipy")


def test_help_and_list_import_no_heavy_library() -> None:
    program = """
import sys
from simo_cl.cli import app

for words in ("", "run", "report", "sync", "ui", "tune", "init", "list", "data fetch"):
    app([*words.split(), "--help"], standalone_mode=False)
app(["list"], standalone_mode=False)
print("imported:", *sorted(name for name in sys.modules if "." not in name))
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert finished.returncode == 0, finished.stderr
    imported = finished.stdout.rpartition("imported:")[2].split()
    assert "typer" in imported
    assert not set(HEAVY) & set(imported)
