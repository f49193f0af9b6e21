"""What cannot run is explained before anything is written."""

from __future__ import annotations

import subprocess
import sys

import pytest
from project import Project


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        ("memory:>memry:", "", "tiny.yaml:5: unknown key 'memry'; allowed here: .*'memory'?"),
        (
            "  er:>  er: {lrr: 1}",
            "",
            "tiny.yaml:8: unknown key 'strategies.er.lrr'; allowed here: lr.",
        ),
        (
            "digits>digit",
            "",
            "tiny.yaml:1: data.name is 'digit', which is no data set; there are digits, cifar10, "
            "cifar100, mnist, fashion_mnist, kmnist, image_folder. Did you mean 'digits'? "
            "One of your own is in the file that --plugins names.",
        ),
        (
            "small_cnn>small_cn",
            "",
            "tiny.yaml:3: model.encoder is 'small_cn', which is no encoder; there are airnet, "
            "airnet_half, resnet18, slim_resnet18, small_cnn. Did you mean 'small_cnn'? "
            "One of your own is in the file that --plugins names.",
        ),
        (
            "small_cnn>airnet",
            "",
            "tiny.yaml:3: model.encoder is 'airnet', which cannot embed the images of digits (1 x "
            "8 x 8) with model.width 4: ValueError: airnet halves its maps three times, so images "
            "must have at least 9 x 9 pixels; these have 8 x 8 (small_cnn takes them)",
        ),
        (
            "threads: 1>augment: [crop, flop]",
            "",
            "tiny.yaml:4: training.augment.1 is 'flop'; allowed: 'crop', 'flip', 'resized_crop', "
            "'color_jitter' or 'grayscale'. Did you mean 'flip'?",
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
        ("digits>cifar10", "--data-root .", "cifar10: not found. Looked for"),
        (
            "",
            "--data-root nowhere",
            "--data-root nowhere: there is no folder .*nowhere; name",
        ),
        ("", "--set memory.size=9", "--set memory.size=9: memory.size is 9; digits has 10"),
        ("", "--set model.encoder=resnet", "--set model.encoder=resnet: model.encoder is 'resnet'"),
        ("", "--tracking-uri mlruns", "a folder of files, which MLflow no longer takes as a store"),
        ("", "--tracking-uri mysql+pymysql://h/d", "needs the Python package pymysql"),
        ("", "--seeds 0,one", "--seeds is '0,one'; give different whole numbers from 0 on"),
        ("", "--seeds 1,1", "seeds are [1, 1]; give different whole numbers from 0 on, as 0,1,2"),
        ("", "--seeds=-1", "seeds are [-1]; give different"),
        ("", "--seeds=", "--seeds is ''"),
        (
            "",
            "--strategies simmo",
            "--strategies: 'simmo' is not in .*tiny.yaml, which has er, simo. Did you mean 'simo'?",
        ),
        (
            "",
            "--strategies finetune",
            "--strategies: 'finetune' is not in .*tiny.yaml, which has er, simo. There is a "
            "strategy 'finetune'; to run it, add it under `strategies:`.",
        ),
        (
            "",
            "--set epsilon=50",
            "--set epsilon=50: epsilon is a setting of one entry: write simo@epsilon",
        ),
        ("", "--set dimension=8", "write simo@dimension"),
        (
            "",
            "--set simo.epsilon=50",
            "--set simo.epsilon=50: simo is an entry of the suite; write simo@epsilon=50 for a",
        ),
        ("", "--set lr=8", "write er@lr or simo@lr"),
        ("", "--set epsilonn=50", "--set epsilonn=50: unknown key 'epsilonn'; allowed here: "),
        ("", "--set epochs=1", "unknown key 'epochs'; .*Did you mean training.epochs?"),
        (
            "",
            "--set batch_size=8",
            "Did you mean stream.batch_size or training.batch_size or evaluation.batch_size?",
        ),
        ("", "--device gpu", "--device: device 'gpu' is none that runs are for"),
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
    assert result.stderr.startswith("Error: ")
    begin, _, end = message.partition(".*")
    assert begin in result.output
    assert end in result.output
    assert not project.results.exists()


def test_a_suite_in_benchmarks_is_found_by_its_name(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.suite("er")
    monkeypatch.chdir(project.suites.parent)

    found = project.call("run", "tiny", "--strategies", "simmo")
    lost = project.call("run", "tinny")

    assert "'simmo' is not in benchmarks/tiny.yaml" in found.output
    assert lost.exit_code == 2
    assert (
        "Suites near there: benchmarks/tiny.yaml. Did you mean 'benchmarks/tiny.yaml'?"
        in lost.output
    )


EARLY = """\
import sys
from typer.testing import CliRunner
from simo_cl.cli import app
for options in sys.argv[2:]:
    command, *words = options.split()
    result = CliRunner().invoke(app, [command, sys.argv[1], *words])
    print(result.exit_code, "torch" in sys.modules)
"""


def test_what_is_quickly_found_to_be_wrong_is_said_before_slow_imports(project: Project) -> None:
    options = ["--seeds a", "--strategies simmo", "--set epsilon=5", "--set control=x"]
    options += ["--set strategies.simmo={}", "--set memory.size=few"]
    options += ["--data-root nowhere", "--set data.name=digit", "--seeds 1,1"]
    options += ["--device gpu", "--plugins nowhere.py", "--plugins pyproject.toml"]
    options = [f"run {each}" for each in options]
    options += ["tune --strategy simoo", "doctor --device gpu"]

    # A process of its own, in which nothing has been imported.
    said = subprocess.run(
        [sys.executable, "-c", EARLY, project.suite("er", "simo"), *options],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said.splitlines() == ["2 False"] * len(options)


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


def test_an_encoder_that_is_not_what_it_says_is_refused(project: Project) -> None:
    result = project.call("run", project.suite("er"), *project.plugin("wrong", wrong=1))
    other_size = project.call(
        "run", project.suite("er"), *project.plugin("other"), "--set", "data.name=digits"
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


def test_a_folder_for_results_that_cannot_be_made_is_named(project: Project) -> None:
    project.results.write_text("a file")

    result = project.call("run", project.suite("finetune"))

    assert result.exit_code == 2
    assert str(project.results) in result.output
