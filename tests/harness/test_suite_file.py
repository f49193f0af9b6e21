from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import ROOT, write_suite

from simo_cl.harness.suite_file import SuiteError, read_suite

SUITE = """\
data: {name: digits}
training:
  epochs: 2
  augment: [crop]
strategies:
  er:
  simo: {lr: 1e-3}
"""


def complaint(path: Path, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(SuiteError) as caught:
        read_suite(path, overrides)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_what_is_not_given_has_its_default(tmp_path: Path) -> None:
    suite = read_suite(write_suite(tmp_path, SUITE, "mine.yaml")).suite

    assert suite.name == "mine"
    assert suite.training.epochs == 2.0
    assert suite.training.augment == ("crop",)
    assert suite.training.batch_size == 64
    assert suite.strategies == {"er": {}, "simo": {"lr": "1e-3"}}
    assert suite.seeds == (0,)


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_suites_are_valid(path: Path) -> None:
    assert read_suite(path).suite.name == path.stem


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "epochs: 2",
            "epoch: 2",
            "3: unknown key 'training.epoch'; allowed here: batch_size, new_share, epochs, "
            "new_epochs, optimizer, momentum, weight_decay, schedule, augment, threads. "
            "Did you mean 'epochs'?",
        ),
        (
            "training:",
            "trainings:",
            "2: unknown key 'trainings'; allowed here: data, stream, model, training, "
            "memory, evaluation, name, description, seeds, control, checkpoint_minutes, resources, "
            "strategies, grid. Did you mean 'training'?",
        ),
        (
            "epochs: 2",
            "epochs: two",
            "3: training.epochs is 'two' (a text): must be a number",
        ),
        ("epochs: 2", "epochs: yes", "3: training.epochs is True: must be a number"),
        (
            "epochs: 2",
            "epochs: .inf",
            "3: training.epochs is inf (a number): must be a finite number",
        ),
        (
            "epochs: 2",
            "epochs:",
            "3: training.epochs has no value: it must be a number",
        ),
        (
            "epochs: 2",
            "epochs: 0",
            "3: training.epochs is 0 (a whole number): must be greater than 0 (images "
            "forwarded in an experience, over the experience's images)",
        ),
        (
            "epochs: 2",
            "batch_size: 1.5",
            "3: training.batch_size is 1.5 (a number): must be a whole number",
        ),
        (
            "epochs: 2",
            "optimizer: adam",
            "3: training.optimizer is 'adam'; allowed: 'sgd' or 'adamw'. Did you mean 'adamw'?",
        ),
        (
            "[crop]",
            "crop",
            "4: training.augment is 'crop' (a text): must be a list, as [1, 2]",
        ),
        (
            "[crop]",
            "[crop, 3]",
            "4: training.augment.1 is 3; allowed: 'crop', 'flip', 'resized_crop', 'color_jitter' "
            "or 'grayscale'.",
        ),
        (
            "training:\n  epochs: 2\n  augment: [crop]",
            "training: {batch_size: 4, new_share: 0.1}",
            "2: training is {'batch_size': 4, 'new_share': 0.1}: a batch of 4 with new_share 0.1 "
            "has 0 images of the current classes and 4 of the memory; each part needs at least 2",
        ),
        (
            "{name: digits}",
            "digits",
            "1: data is 'digits' (a text): must be a mapping, as {key: value}",
        ),
        (
            "{name: digits}",
            "",
            "1: data has no value: it must be a mapping, as {key: value}",
        ),
        (
            "{name: digits}",
            "{name: digits}\ndescription: 5",
            "2: description is 5 (a whole number): must be a text",
        ),
        (
            "{name: digits}",
            "{name: digits}\nstream: {class_order: sorted}",
            "2: stream.class_order is 'sorted': must be natural, seeded, or a list of all "
            "labels, as [1, 0, 2]",
        ),
        (
            "{name: digits}",
            "{name: digits}\nstream:\n  experiences: 5\n  class_order: [0, one]",
            "4: stream.class_order is [0, 'one']: must be natural, seeded, or a list of all "
            "labels, as [1, 0, 2]",
        ),
        (
            "{name: digits}",
            "{name: digits}\nstream: {evaluate_on: validation}",
            "2: stream is {'evaluate_on': 'validation'}: evaluate_on is validation, but "
            "nothing is held out; set validation to a share such as 0.1",
        ),
        (
            "er:",
            "er: 5",
            "6: strategies.er is 5 (a whole number): must be a mapping, as {key: value}",
        ),
        ("er:", "1:", "6: key 'strategies.1' is no text; put it into quotes"),
        (
            "strategies:\n  er:\n  simo: {lr: 1e-3}",
            "strategies: [er, simo]",
            "5: strategies is ['er', 'simo'] (a list): must be a mapping, as {key: value}",
        ),
        (
            "strategies:\n  er:\n  simo: {lr: 1e-3}",
            "strategies: {}",
            "5: strategies is {} (a mapping): must not be empty",
        ),
        ("data:", "seeds: []\ndata:", "1: seeds is [] (a list): must not be empty"),
        (
            "data:",
            "seeds: 3\ndata:",
            "1: seeds is 3 (a whole number): must be a list, as [1, 2]",
        ),
        (
            "data:",
            "seeds: [0, 1, 0]\ndata:",
            "1: seeds is [0, 1, 0]: a seed is named twice",
        ),
        (
            "data:",
            "seeds: [-1]\ndata:",
            "1: seeds.0 is -1 (a whole number): must be greater than or equal to 0",
        ),
        (
            "data:",
            "name: a/b\ndata:",
            "1: name is 'a/b' (a text): must be made of letters, digits, '.', '_' and '-', "
            "and begin with a letter or digit",
        ),
        (
            "training:",
            "data: {name: mnist}\ntraining:",
            "2: key 'data' stands on line 1 already",
        ),
        (
            "  augment: [crop]",
            "  epochs: 3",
            "4: key 'training.epochs' stands on line 3 already",
        ),
        (
            "epochs: 2",
            "epochs: [2",
            "4: not valid YAML: expected ',' or ']', but got ':'",
        ),
        (
            "  epochs: 2",
            "\tepochs: 2",
            "3: not valid YAML: found character '\\t' that cannot start any token",
        ),
        (
            "epochs: 2",
            "epochs: 2024-02-30",
            "3: not valid YAML: '2024-02-30' is no timestamp (day is out of range for month); put "
            "a text into quotes",
        ),
        ("data:", "yes: 1\ndata:", " key 'True' is no text; put it into quotes"),
        ("er:", "no:", "5: key 'strategies.False' is no text; put it into quotes"),
    ],
)
def test_a_mistake_is_shown_with_file_line_key_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert SUITE.count(old) == 1

    assert complaint(write_suite(tmp_path, SUITE.replace(old, new))) == f"tiny.yaml:{message}"


def test_brackets_without_an_end_are_refused(tmp_path: Path) -> None:
    text = SUITE.replace("[crop]", "[" * 5000)

    assert complaint(write_suite(tmp_path, text)).startswith("tiny.yaml: not valid YAML: too many")


def test_a_suite_needs_strategies(tmp_path: Path) -> None:
    assert complaint(write_suite(tmp_path, "data: {name: digits}")) == (
        "tiny.yaml: key 'strategies' is missing; it is required"
    )


def test_all_mistakes_are_shown_at_once(tmp_path: Path) -> None:
    text = SUITE.replace("epochs: 2", "epochs: two").replace("name: digits", "nam: digits")

    lines = complaint(write_suite(tmp_path, text)).splitlines()

    assert [line.partition(": ")[0] for line in lines] == ["tiny.yaml:1", "tiny.yaml:3"]


@pytest.mark.parametrize("text", ["", "- er\n- simo\n", "er"])
def test_a_suite_must_be_a_mapping(tmp_path: Path, text: str) -> None:
    assert complaint(write_suite(tmp_path, text)).startswith("tiny.yaml: a suite is a mapping")


def test_a_file_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    write_suite(tmp_path / "benchmarks", SUITE, "quickstart.yaml")

    assert complaint(tmp_path / "benchmarks" / "quikstart.yaml").startswith(
        "quikstart.yaml: cannot read the suite file: No such file or directory. Suites near there: "
        "quickstart.yaml. Did you mean 'quickstart.yaml'?"
    )
    assert "Did you mean" not in complaint(tmp_path / "benchmarks" / "nothing.yaml")
    assert "benchmarks/quickstart.yaml" in complaint(tmp_path / "quickstart")
    assert "Is a directory" in complaint(tmp_path / "benchmarks")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.yaml"
    path.write_bytes(b"\xff\xd8\xff\xe0")

    assert complaint(path) == "image.yaml: not a text file in UTF-8; a suite is a YAML file"


def test_a_suite_needs_a_name_that_can_name_a_folder(tmp_path: Path) -> None:
    assert "name is 'my suite'" in complaint(write_suite(tmp_path, SUITE, "my suite.yaml"))


def test_settings_are_set_from_outside(tmp_path: Path) -> None:
    suite = read_suite(
        write_suite(tmp_path, SUITE),
        ["training.epochs=0.5", "memory.size=7", "simo@epsilon=0.2", "er@lr = 1e-2", "seeds=[4]"],
    ).suite

    assert suite.training.epochs == 0.5
    assert suite.training.augment == ("crop",)
    assert suite.memory.size == 7
    assert suite.strategies == {"er": {"lr": "1e-2"}, "simo": {"lr": "1e-3", "epsilon": 0.2}}
    assert suite.seeds == (4,)


def test_keys_of_the_grid_are_set_from_outside(tmp_path: Path) -> None:
    path = write_suite(tmp_path, SUITE + "grid: {memory.size: [1], simo@epsilon: [2, 3]}\n")

    suite = read_suite(path, ["grid.memory.size=[5]", "grid.simo@lr=[0.1]"]).suite

    assert suite.grid == {"memory.size": [5], "simo@epsilon": [2, 3], "simo@lr": [0.1]}
    assert read_suite(path, ["grid={}"]).suite.grid == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=1", "unknown key 'training.epoch'; allowed here: batch_size, .*'epochs'"),
        ("training.epochs=two", "training.epochs is 'two' (a text): must be a number"),
        ("training={epochs: two}", "training.epochs is 'two' (a text): must be a number"),
        ("trainig.epochs=2", "unknown key 'trainig'; .* Did you mean 'training'"),
        ("training.epochs", "write key=value, as in --set training.epochs=1"),
        ("=1", "write key=value"),
        ("training.augment=[crop", "'[crop' is not a valid YAML value"),
        ("description=2024-02-30", "'2024-02-30' is not a valid YAML value"),
        ("grid.simmo@lr=[1]", "the suite has no strategy 'simmo'; it has er, simo. Did you mean"),
        ("grid.memory.size=3", "grid.memory.size is 3 (a whole number): must be a list"),
        (
            "simmo@epsilon=1",
            "the suite has no strategy 'simmo'; it has er, simo. Did you mean 'simo'?",
        ),
        ("training.epochs.many=1", "'epochs' is a single value and has no setting 'many'"),
    ],
)
def test_a_mistake_on_the_command_line_is_shown_as_one(
    tmp_path: Path, override: str, message: str
) -> None:
    shown = complaint(write_suite(tmp_path, SUITE), (override,))

    assert shown.startswith(f"--set {override}: ")
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), shown)


def test_an_entry_may_have_a_dot_in_its_name(tmp_path: Path) -> None:
    text = "strategies: {er: {lr: 0.1}, er.v2: {strategy: er, lr: 0.2}}\n"
    suite = read_suite(write_suite(tmp_path, "data: {name: digits}\n" + text), ("er.v2@lr=0.3",))

    assert suite.suite.strategies["er.v2"]["lr"] == 0.3


@given(
    text=st.text(max_size=60)
    | st.sampled_from(["x: &a [*a]", "? [1]\n: 2", "<<: 1", "a: !!set {b}"])
)
def test_no_text_breaks_the_reader(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_suite(tmp_path_factory.getbasetemp() / "any", "strategies: {er: }\n" + text)

    try:
        read_suite(path)
        message = str(path)
    except SuiteError as error:
        message = str(error)

    assert str(path) in message
