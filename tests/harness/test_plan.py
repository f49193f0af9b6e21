from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tiny import ROOT, SETTINGS, STRATEGIES, planned, write_suite

from simo_cl.harness.plan import TUNING_SEED, PlannedRun, plan_runs
from simo_cl.harness.settings import RunSettings
from simo_cl.harness.suite_file import SuiteError, read_suite
from simo_cl.models import Precision
from simo_cl.report.tables import file_label

BOTH = "strategies:\n  er:\n  simo: {epsilon: 0.5}\n"


def complaint(folder: Path, more: str, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(SuiteError) as caught:
        planned(folder, more, overrides)
    return str(caught.value).replace(f"{folder}/", "").replace(f"{STRATEGIES}", "strategies")


def line_of(text: str, start: str) -> int:
    """Number of the line that begins with ``start``, in the tiny suite with ``text`` added."""
    lines = (SETTINGS + text).splitlines()
    return next(n for n, line in enumerate(lines, start=1) if line.lstrip().startswith(start))


def digests(runs: list[PlannedRun]) -> list[str]:
    return [run.digest for run in runs]


def test_every_strategy_runs_with_every_seed_and_seed_by_seed(tmp_path: Path) -> None:
    runs = planned(tmp_path, BOTH + "seeds: [3, 0]\n")

    assert [run.name for run in runs] == [
        "er, seed 3",
        "simo, seed 3",
        "er, seed 0",
        "simo, seed 0",
    ]
    assert len(set(digests(runs))) == 4


def test_a_trial_is_named_as_one(tmp_path: Path) -> None:
    runs = planned(tmp_path, f"strategies:\n  er:\nseeds: [{TUNING_SEED}, {TUNING_SEED + 1}]\n")

    assert [run.name for run in runs] == ["er, trial with seed 0", "er, trial with seed 1"]


def test_a_run_has_all_settings_with_defaults_filled_in(tmp_path: Path) -> None:
    er, simo = (run.settings for run in planned(tmp_path, BOTH))

    assert er.settings == {"lr": 1e-3}
    assert simo.settings == {
        "lr": 1e-3,
        "joint": False,
        "head": "mlp",
        "dimension": 128,
        "views": 1,
        "replay_batch_size": None,
        "clip_grad_norm": 1.0,
        "read_out": "features",
        "distill": None,
        "distill_weight": 1.0,
        "distill_temperature": 0.2,
        "distill_past_temperature": 0.01,
        "epsilon": 0.5,
        "leaning": 0.0,
        "bias": 0.0,
        "normalize": True,
        "normalize_means": False,
        "form": "pairwise",
        "reduction": "mean",
        "weights": [1.0, 1.0, 1.0],
    }
    assert er.training == simo.training
    assert er.training.weight_decay == 5e-4


TWICE = """\
strategies:
  simo:
  small: {strategy: simo, dimension: 16}
  at_once: {strategy: simo, joint: true}
control: small
"""


def test_a_strategy_may_stand_in_a_suite_several_times(tmp_path: Path) -> None:
    more = TWICE + "grid: {small@epsilon: [0.1, 0.5]}\n"
    runs = planned(tmp_path, more, ("small@views=2",))

    assert [run.label for run in runs] == [
        "simo",
        "small[epsilon=0.1]",
        "small[epsilon=0.5]",
        "at_once",
    ]
    assert [run.folder.parts[1] for run in runs] == [
        "simo",
        "small@epsilon=0.1",
        "small@epsilon=0.5",
        "at_once",
    ]
    assert {run.settings.strategy for run in runs} == {"simo"}
    assert [run.joint for run in runs] == [False, False, False, True]
    settings = [run.settings.settings for run in runs]
    assert [own["dimension"] for own in settings] == [128, 16, 16, 128]
    assert [own["views"] for own in settings] == [1, 2, 2, 1]


def test_the_entries_of_one_strategy_have_folders_of_their_own(tmp_path: Path) -> None:
    runs = planned(tmp_path, "strategies: {simo: , again: {strategy: simo}}\n")

    assert len({run.folder for run in runs}) == 2


def test_the_grid_crosses_shared_settings_and_a_strategy_s_own(tmp_path: Path) -> None:
    runs = planned(tmp_path, BOTH + "grid: {memory.size: [20, 40], simo@epsilon: [0.1, 1]}\n")

    assert [run.label for run in runs] == [
        "er[memory.size=20]",
        "er[memory.size=40]",
        "simo[memory.size=20,epsilon=0.1]",
        "simo[memory.size=20,epsilon=1]",
        "simo[memory.size=40,epsilon=0.1]",
        "simo[memory.size=40,epsilon=1]",
    ]
    assert [run.settings.memory.size for run in runs] == [20, 40, 20, 20, 40, 40]
    assert [run.settings.settings.get("epsilon") for run in runs[2:]] == [0.1, 1.0, 0.1, 1.0]


def test_a_run_s_folder_says_strategy_variant_seed_and_digest(tmp_path: Path) -> None:
    grid = "grid: {simo@head: [linear], stream.class_order: [seeded]}\n"
    er, simo = planned(tmp_path, BOTH + "seeds: [7]\n" + grid)

    assert er.folder == Path(f"runs/er@stream.class_order=seeded/seed7-{er.digest}")
    assert simo.folder == Path(
        f"runs/simo@head=linear,stream.class_order=seeded/seed7-{simo.digest}"
    )
    assert re.fullmatch(r"[0-9a-f]{8}", er.digest)


def test_lists_have_a_name_without_commas(tmp_path: Path) -> None:
    grid = "grid: {training.augment: [[crop, flip], []], stream.class_order: [natural]}\n"

    assert [run.label for run in planned(tmp_path, "strategies: {er: }\n" + grid)] == [
        "er[training.augment=crop+flip,stream.class_order=natural]",
        "er[training.augment=none,stream.class_order=natural]",
    ]


def test_mappings_have_a_name_without_commas(tmp_path: Path) -> None:
    write_suite(tmp_path / "own", STRATEGY.format(settings="of: dict[str, float] = {}"), "own.py")
    more = "strategies: {own: }\ngrid: {own@of: [{a: 1, b/c: 0.5}, {}], memory.size: [20]}\n"

    runs = planned(tmp_path, more, strategies=tmp_path / "own")

    assert [run.label for run in runs] == [
        "own[of=a:1+b~2Fc:0.5,memory.size=20]",
        "own[of=none,memory.size=20]",
    ]


def test_a_value_makes_no_folder_in_the_folder_nor_too_long_a_name(tmp_path: Path) -> None:
    write_suite(tmp_path / "own", STRATEGY.format(settings="path: str = ''"), "own.py")
    more = f"strategies: {{own: }}\ngrid: {{own@path: ['a/b,c', {'é' * 150}1, {'é' * 150}2]}}\n"

    short, *long = planned(tmp_path, more, strategies=tmp_path / "own")

    assert short.folder.parts[1] == "own@path=a~2Fb~2Cc"
    assert short.settings.settings["path"] == "a/b,c"
    for run in long:
        (tmp_path / run.folder).mkdir(parents=True)


LOOK_ALIKE = [
    "a/b",
    "a_b",
    "'a,b'",
    "a~2Fb",
    "a+b",
    "[a, b]",
    "'[a, b]'",
    "a\\b",
    "'1'",
    "1e3",
    "[]",
]


def test_values_that_look_alike_are_rows_of_their_own(tmp_path: Path) -> None:
    text = STRATEGY.format(settings="path: str | list[str] | float = ''")
    write_suite(tmp_path / "own", text, "own.py")
    more = f"strategies: {{own: }}\ngrid: {{own@path: [{', '.join(LOOK_ALIKE)}]}}\n"

    runs = planned(tmp_path, more, strategies=tmp_path / "own")

    assert len({run.label for run in runs}) == len(LOOK_ALIKE)
    assert len({file_label(run.label) for run in runs}) == len(LOOK_ALIKE)
    assert len({run.folder.parts[1] for run in runs}) == len(LOOK_ALIKE)


@pytest.mark.parametrize(
    "same",
    [
        pytest.param((BOTH + "seeds: [0, 1]\n", ()), id="another seed"),
        pytest.param((BOTH + "description: other\nname: other\ncontrol: er\n", ()), id="words"),
        pytest.param(("strategies: {simo: {epsilon: 0.5, lr: 1e-3}, er: }\n", ()), id="defaults"),
        pytest.param(("strategies: {er: , simo: , der: }\n", ("simo@epsilon=0.5",)), id="--set"),
        pytest.param(("strategies: {er: , simo: }\ngrid: {simo@epsilon: [.5]}\n", ()), id="grid"),
        pytest.param((BOTH, ("training.weight_decay=0.0005",)), id="a default named"),
        pytest.param((BOTH, ("training.epochs=2e-1",)), id="a number written otherwise"),
    ],
)
def test_what_changes_no_result_changes_no_digest(
    tmp_path: Path, same: tuple[str, tuple[str, ...]]
) -> None:
    expected = set(digests(planned(tmp_path, BOTH)))
    text, overrides = same

    assert expected <= set(digests(planned(tmp_path, text, overrides)))


@pytest.mark.parametrize(
    "override",
    [
        "data.name=mnist",
        "simo@joint=true",
        "stream.experiences=5",
        "stream.class_order=seeded",
        "model.width=5",
        "training.epochs=0.3",
        "training.augment=[flip, crop]",
        "training.threads=2",
        "memory.size=41",
        "evaluation.samples_per_class=5",
        "simo@epsilon=0.6",
        "simo@lr=0.002",
        "seeds=[1]",
    ],
)
def test_what_may_change_a_result_changes_the_digest(tmp_path: Path, override: str) -> None:
    before = planned(tmp_path, "strategies: {simo: {epsilon: 0.5}}\n")
    after = planned(tmp_path, "strategies: {simo: {epsilon: 0.5}}\n", (override,))

    assert digests(before) != digests(after)


STRATEGY = '''"""A strategy that is only planned."""

from simo_cl.harness.settings import StrategySettings

SEARCH_SPACE = {{}}


class Settings(StrategySettings):
    {settings}


def build(setup, settings):
    raise NotImplementedError
'''


def test_a_changed_strategy_file_changes_the_digest_of_its_runs_alone(tmp_path: Path) -> None:
    folder = tmp_path / "strategies"
    for name in ("one", "two"):
        write_suite(folder, STRATEGY.format(settings="pass"), f"{name}.py")
    more = "strategies: {one: , two: }\n"
    before = planned(tmp_path, more, strategies=folder)
    with (folder / "one.py").open("a") as file:
        file.write("\n# a comment may be all\n")
    after = planned(tmp_path, more, strategies=folder)

    assert before[0].digest != after[0].digest
    assert before[1].digest == after[1].digest


@pytest.mark.parametrize(
    ("more", "place", "message"),
    [
        (
            "strategies:\n  er:\n  simmo:\n",
            "simmo",
            "no strategy 'simmo' in strategies; there are co2l, der, er, .*Did you mean 'simo'?",
        ),
        (
            "strategies:\n  er:\n  simo:\n    lr: 0.1\n    epsilonn: 1\n",
            "epsilonn",
            "unknown key 'strategies.simo.epsilonn'; allowed here: lr, joint, head, dimension, "
            "views, replay_batch_size, clip_grad_norm, read_out, distill_weight, "
            "distill_temperature, distill_past_temperature, distill, epsilon, leaning, bias, "
            "normalize, normalize_means, form, reduction, weights. Did you mean 'epsilon'?",
        ),
        (
            "strategies:\n  simo:\n    epsilon: small\n",
            "epsilon",
            "strategies.simo.epsilon is 'small' (a text): must be a number",
        ),
        (
            "strategies:\n  simo:\n    head: mpl\n",
            "head",
            "strategies.simo.head is 'mpl'; allowed: 'none', 'linear' or 'mlp'. "
            "Did you mean 'mlp'?",
        ),
        (
            "strategies:\n  er:\n  mine:\n    lr: 0.1\n    strategy: simmo\n",
            "strategy: simmo",
            "no strategy 'simmo' in strategies; there are co2l, .*Did you mean 'simo'?",
        ),
        (
            "strategies:\n  er:\n  mine: {strategy: 5}\n",
            "mine",
            "strategies.mine.strategy is 5; it must be the name of a strategy, as {strategy: simo}",
        ),
        (
            "strategies:\n  er:\n  a/b: {strategy: simo}\n",
            "a/b",
            "key 'strategies.a/b' must be made of letters, digits, '.', '_' and '-', and begin",
        ),
        (
            "strategies:\n  simo:\n  er: {joint: true}\n",
            "er",
            "strategies.er.joint: er cannot train on all classes at once; the contrastive "
            "strategies can, and `joint` does with cross-entropy",
        ),
        (
            "strategies:\n  simo: {joint: 1}\n",
            "simo",
            "strategies.simo.joint is 1 (a whole number): must be true or false",
        ),
        (
            TWICE + "grid:\n  small@strategy: [simo, supcon]\n",
            "small@",
            "grid key 'small@strategy': an entry is of one strategy; write an entry for each",
        ),
        (
            BOTH + "control: err\n",
            "control",
            "control is 'err', which is none of the suite's strategies: er, simo. "
            "Did you mean 'er'?",
        ),
        (
            BOTH + "grid:\n  sim@epsilon: [1]\n",
            "sim@",
            "grid key 'sim@epsilon': no strategy 'sim' in this suite; it has er, simo. "
            "Did you mean 'simo'?",
        ),
        (
            BOTH + "grid:\n  simo@epsilonn: [1]\n",
            "simo@",
            "unknown key 'strategies.simo.epsilonn'; allowed here: lr, .* Did you mean 'epsilon'?",
        ),
        (
            BOTH + "grid:\n  memory.sizes: [1]\n",
            "memory.sizes",
            "unknown key 'memory.sizes'; allowed here: size. Did you mean 'size'?",
        ),
        (
            BOTH + "grid:\n  memory.size: [20, many]\n",
            "memory.size",
            "memory.size is 'many' (a text): must be a whole number",
        ),
        (
            BOTH + "grid:\n  memory.size.of: [20]\n",
            "memory.size",
            "'size' is a single value and has no setting 'of'",
        ),
        (
            BOTH + "grid:\n  memory: [{size: 20}]\n",
            "memory: [",
            "grid key 'memory': write strategy@setting, or section.setting with one of the "
            "sections data, stream, model, training, memory, evaluation.",
        ),
        (
            BOTH + "grid:\n  memry.size: [20]\n",
            "memry",
            "grid key 'memry.size': write strategy@setting, or section.setting with one of the "
            "sections data, stream, model, training, memory, evaluation. Did you mean 'memory'?",
        ),
        (BOTH + "grid:\n  seed: [1, 2]\n", "seed", "grid key 'seed': write strategy@setting, "),
        (
            BOTH + "grid:\n  strategies.simo.epsilon: [1]\n",
            "strategies.simo",
            "grid key 'strategies.simo.epsilon': write strategy@setting",
        ),
        (
            BOTH + "grid:\n  data.name: [digits, mnist]\n",
            "data.name",
            "grid key 'data.name': a suite has one data set; write a suite for each",
        ),
        (
            BOTH + "grid:\n  memory.size: []\n",
            "memory.size",
            "grid key 'memory.size' has no values; give a list",
        ),
        (
            BOTH + "grid:\n  memory.size: [20, 40, 20]\n",
            "memory.size",
            "grid key 'memory.size' names 20 twice",
        ),
        (
            BOTH + "grid:\n  training.augment: [[], none]\n",
            "training.augment",
            "grid key 'training.augment' names none twice",
        ),
        (
            BOTH + "grid:\n  memory.size: 20\n",
            "memory.size",
            "grid.memory.size is 20 (a whole number): must be a list, as [1, 2]",
        ),
    ],
)
def test_a_mistake_is_shown_with_file_line_key_and_what_is_allowed(
    tmp_path: Path, more: str, place: str, message: str
) -> None:
    shown = complaint(tmp_path, more)

    added = len(SETTINGS.splitlines())
    assert shown.startswith(f"tiny.yaml:{line_of(more, place)}: ")
    assert line_of(more, place) > added
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), shown), shown


def test_a_mistake_on_the_command_line_is_shown_as_one(tmp_path: Path) -> None:
    assert complaint(tmp_path, BOTH, ("simo@epsilon=-1",)) == (
        "--set simo@epsilon=-1: strategies.simo.epsilon is -1 (a whole number): must be "
        "greater than 0"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_suites_can_be_planned(path: Path) -> None:
    file = read_suite(path)
    runs: list[Any] = plan_runs(file.suite, STRATEGIES, file.locations, "float32")

    assert {run.settings.entry for run in runs} == set(file.suite.strategies)
    assert len(runs) % len(file.suite.seeds) == 0
    assert len({run.folder for run in runs}) == len(runs)


class TestPrecision:
    """Of runs whose suite leaves it to the device."""

    AUTO = SETTINGS.replace("precision: float32", "precision: auto")

    def runs(self, folder: Path, auto: Precision, more: str = "") -> list[PlannedRun]:
        file = read_suite(write_suite(folder, self.AUTO + BOTH + more))
        return plan_runs(file.suite, STRATEGIES, file.locations, auto)

    @pytest.mark.parametrize("auto", ["float32", "bfloat16"])
    def test_auto_is_what_it_stands_for_also_in_the_hash(self, tmp_path, auto) -> None:
        chosen = planned(tmp_path, BOTH, (f"model.precision={auto}",))
        runs = self.runs(tmp_path, auto)
        assert {run.settings.model.precision for run in runs} == {auto}
        assert digests(runs) == digests(chosen)

    def test_another_precision_is_another_run(self, tmp_path) -> None:
        one, other = self.runs(tmp_path, "float32"), self.runs(tmp_path, "bfloat16")
        assert not {run.folder for run in one} & {run.folder for run in other}

    def test_a_grid_may_cross_precisions(self, tmp_path) -> None:
        more = "grid: {model.precision: [float32, auto]}\n"
        runs = self.runs(tmp_path, "bfloat16", more)
        precisions = [run.settings.model.precision for run in runs]
        assert precisions == 2 * ["float32", "bfloat16"]

    def test_a_suite_that_says_nothing_leaves_it_to_the_device(self) -> None:
        for path in (ROOT / "benchmarks").glob("*.yaml"):
            assert read_suite(path).suite.model.precision == "auto", path

    def test_no_run_is_left_undecided(self, tmp_path) -> None:
        (er, _) = self.runs(tmp_path, "float32")
        undecided = er.settings.model_dump()
        undecided["model"]["precision"] = "auto"
        with pytest.raises(ValidationError, match="precision"):
            RunSettings.model_validate(undecided)
