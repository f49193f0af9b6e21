"""Every shipped strategy trains, replays and is read out on a device as it is on the CPU.

The device is a stand-in: see stand_in.py. Every loader pins its batches, as Avalanche's do on CUDA.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from nondeterministic import OPERATORS
from processes import run_forked
from stand_in import StandIn, stand_in_device
from tiny import JOINT_CONTRASTIVE, ONLINE, SETTINGS, SHIPPED, STRATEGIES, entries, planned
from torch.utils.data import DataLoader

from simo_cl.harness import execute_run
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.strategy_files import load_strategy
from simo_cl.metrics import readouts
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet, Images, load_data
from simo_cl.streams.image_store import image_store
from simo_cl.streams.resident import ResidentDataset

pytestmark = pytest.mark.slow

PROTOCOLS = {"batch": SETTINGS, "online": ONLINE}
CASES = [
    f"{protocol} {strategy}"
    for strategy in SHIPPED
    for protocol in load_strategy(strategy, STRATEGIES).module.__dict__.get("PROTOCOLS", PROTOCOLS)
] + [f"{protocol} {name}" for name in JOINT_CONTRASTIVE for protocol in PROTOCOLS]

# Where a value has to come to the host.
AFTER_AN_EXPERIENCE = {
    "simo_cl/harness/embed.py: take": "classes predicted for the test images",
    "simo_cl/harness/embed.py: _joined": "features and embeddings, which metrics are computed of",
    "simo_cl/harness/export.py: __init__": "the model that is written to a file",
    "simo_cl/models/encoder.py: images_forwarded": "how many images were trained on",
    "simo_cl/training/step_budget.py: after_training_exp": "the mean loss",
    "simo_cl/training/strategy_state.py: portable": "checkpoints",
    "strategies/icarl.py: memory": "exemplars, to be embedded",
}
WHILE_TRAINING = {
    "simo_cl/training/step_budget.py: _check": "whether the loss is finite, every 25 steps",
}
IN_LIBRARIES = {
    "avalanche/training/plugins/mir.py: after_training_exp": "classes of the last batch",
    "avalanche/training/supervised/der.py: compute_dataset_logits": "logits of the memory",
    "avalanche/training/supervised/icarl.py: after_train_dataset_adaptation": "exemplars",
    "avalanche/training/supervised/icarl.py: construct_exemplar_set": "exemplars chosen",
    "pytorch_metric_learning/losses/generic_pair_loss.py: _assert_either_pos_or_neg": "SupCon",
    "pytorch_metric_learning/losses/supcon_loss.py: _compute_loss": "SupCon",
    "pytorch_metric_learning/miners/triplet_margin_miner.py: mine": "triplets",
    "pytorch_metric_learning/reducers/threshold_reducer.py: element_reduction_helper": "triplets",
    "pytorch_metric_learning/utils/loss_and_miner_utils.py: get_all_pairs_indices": "SupCon",
    "pytorch_metric_learning/utils/loss_and_miner_utils.py: "
    "get_all_triplets_indices_vectorized_method": "triplets",
}


# --- in a process of its own --------------------------------------------------------------------


def compute(folder: Path) -> None:
    """Executes every case on the stand-in device, and then on the CPU."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    _let_every_loader_pin()
    _leave_out_what_takes_long()
    data = some_digits()
    runs = {case: _planned(case, folder) for case in CASES}
    results: dict[str, Any] = {case: {} for case in CASES}
    with stand_in_device() as stand_in:
        results["rows"] = _rows_of_a_users_loader(data, stand_in)
        for case, run in runs.items():
            stand_in.left.clear()
            stand_in.operators.clear()
            results[case]["device"] = _metrics(run, data, folder / case / "device", stand_in.device)
            results[case]["left"] = sorted(stand_in.left)
            results[case]["operators"] = sorted(stand_in.operators)
    for case, run in runs.items():
        results[case]["cpu"] = _metrics(run, data, folder / case / "cpu", torch.device("cpu"))
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


def _let_every_loader_pin() -> None:
    make = DataLoader.__init__

    def pinning(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **{**kwargs, "pin_memory": True})

    DataLoader.__init__ = pinning  # type: ignore[method-assign]


def _leave_out_what_takes_long() -> None:
    """Read-outs of scikit-learn, to which features come as arrays, and all exports but one."""
    export = execute_run.export_model
    readouts.linear_probe = readouts.mlp_head = readouts.nearest_class_mean

    def export_of_one_case(model: Any, layers: Any, data: DataSet, folder: RunFolder) -> None:
        if folder.path.parent.name == "batch simo":
            export(model, layers, data, folder)

    execute_run.export_model = export_of_one_case


def some_digits() -> DataSet:
    digits = load_data("digits")
    parts = [
        Images(part.images[::step], part.labels[::step])
        for part, step in ((digits.train, 9), (digits.test, 5))
    ]
    return DataSet("digits", *parts, digits.class_names, "some digits")


def _planned(case: str, folder: Path) -> PlannedRun:
    protocol, strategy = case.split()
    (run,) = planned(folder, entries(strategy), settings=PROTOCOLS[protocol])
    return run


def _metrics(run: PlannedRun, data: DataSet, folder: Path, device: torch.device) -> Any:
    try:
        execute_run.execute_run(run, data, RunFolder(folder), device, lambda taken, total: None)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return [
        json.loads(line)["metrics"]
        for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def _rows_of_a_users_loader(data: DataSet, stand_in: StandIn) -> list[str]:
    """Devices of the batches of a loader with a collate function of the user's own."""
    dataset = ResidentDataset(image_store(data, "train", device=stand_in.device), range(4))
    loader = DataLoader(
        dataset, batch_size=4, collate_fn=lambda rows: torch.stack([image for image, *_ in rows])
    )
    return [images.device.type for images in loader]


# --- here ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("on_a_device")
    finished = run_forked(compute, folder)
    assert finished.returncode == 0, finished.stderr
    loaded: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return loaded


# MIR chooses what to replay by the order of losses, which rounding changes.
@pytest.mark.parametrize("case", [case for case in CASES if case != "online mir"])
def test_a_strategy_gives_the_same_numbers_as_on_the_cpu(results, case) -> None:
    device, cpu = results[case]["device"], results[case]["cpu"]
    assert len(device) == len(cpu) == (1 if "joint" in case else 2)
    for after, expected in zip(device, cpu, strict=True):
        for name in ("train/loss", "average_accuracy", "ncm_memory/average_accuracy"):
            assert after[name] == pytest.approx(expected[name], rel=0.01, abs=0.02), name
        assert after.keys() == expected.keys()


@pytest.mark.parametrize("case", CASES)
def test_a_strategy_runs_and_every_loader_may_pin(results, case) -> None:
    device = results[case]["device"]
    assert not isinstance(device, str), device


@pytest.mark.parametrize("case", CASES)
def test_values_come_to_the_host_at_known_places_alone(results, case) -> None:
    known = {*AFTER_AN_EXPERIENCE, *WHILE_TRAINING, *IN_LIBRARIES}
    assert set(results[case]["left"]) <= known


@pytest.mark.parametrize("strategy", ["simo", "er_balanced", "joint_simo", "er_simo"])
def test_while_our_own_strategies_train_only_the_check_of_the_loss_waits(results, strategy) -> None:
    for protocol in PROTOCOLS:
        left = set(results[f"{protocol} {strategy}"]["left"])
        assert left - AFTER_AN_EXPERIENCE.keys() <= WHILE_TRAINING.keys()


@pytest.mark.parametrize("case", CASES)
def test_all_operations_have_a_deterministic_form_on_cuda(results, case) -> None:
    names = set(results[case]["operators"])
    assert "convolution_backward" in names
    assert not names & OPERATORS


def test_every_known_place_is_one(results) -> None:
    places = {place for case in CASES for place in results[case]["left"]}
    assert places == {*AFTER_AN_EXPERIENCE, *WHILE_TRAINING, *IN_LIBRARIES}


def test_single_rows_are_in_host_memory_for_a_users_own_loader(results) -> None:
    assert results["rows"] == ["cpu"]
