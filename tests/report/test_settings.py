from __future__ import annotations

import json

import yaml

from simo_cl.report.settings import compare_environments, compare_settings, lookup
from simo_cl.results import load_suite


def edit_config(folder, run, key, value) -> None:
    path = folder / "runs" / run / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["training"][key] = value
    path.write_text(yaml.safe_dump(config))


def test_shared_settings_are_told_from_the_strategies_own(make_suite):
    settings = compare_settings(load_suite(make_suite(strategies=("er", "simo"), seeds=(0,))))
    assert settings.common["training.augment"] == "crop, flip"
    assert settings.common["memory.size"] == "1000"
    assert settings.differing == {}
    assert settings.own["lr"] == {"er": "0.03", "simo": "0.1"}
    assert settings.own["epsilon"] == {"simo": "0.1"}


def test_a_setting_that_differs_between_rows_or_seeds_is_named(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0, 1))
    edit_config(folder, "er/seed1-1a2b3c4d", "epochs", 5)
    differing = compare_settings(load_suite(folder)).differing
    assert differing == {"training.epochs": {"er": "3 or 5", "simo": "3"}}


def test_a_shared_text_with_an_or_in_it_is_shared(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0, 1))
    for run in ("er/seed0", "er/seed1", "simo/seed0", "simo/seed1"):
        edit_config(folder, f"{run}-1a2b3c4d", "note", "flip or crop")
    settings = compare_settings(load_suite(folder))
    assert settings.common["training.note"] == "flip or crop"
    assert settings.differing == {}


def test_environments_are_compared(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,))
    path = folder / "runs/simo/seed0-1a2b3c4d/status.json"
    status = json.loads(path.read_text())
    status["environment"]["device"] = "cuda:0"
    path.write_text(json.dumps(status))
    environment = compare_environments(load_suite(folder))
    assert environment.common["torch"] == "2.14.1"
    assert environment.differing == {"device": {"er": "cpu", "simo": "cuda:0"}}


def test_settings_of_the_online_protocol_are_of_its_runs_alone(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,))
    for protocol in ("batch", "online"):
        for path in folder.glob("runs/*/*/config.yaml"):
            config = yaml.safe_load(path.read_text())
            config["stream"] |= {"protocol": protocol, "updates_per_batch": 1}
            path.write_text(yaml.safe_dump(config))
        common = compare_settings(load_suite(folder)).common
        assert ("stream.updates_per_batch" in common) == (protocol == "online")


def test_lookup_follows_dots():
    assert lookup({"a": {"b": 1}}, "a.b") == 1
    assert lookup({"a": {"b": 1}}, "a.b.c") is None
    assert lookup({}, "a") is None
