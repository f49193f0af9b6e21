from __future__ import annotations

import numpy as np
import pytest

from simo_cl.results import load_suite
from simo_cl.results.styles import GREY, HUES, SURFACE, css_variable_of, styles

# Simulated dichromacy in linear RGB, severity 1 (Machado, Oliveira and Fernandes 2009).
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str) -> np.ndarray:
    """In OKLab."""
    return np.cbrt(np.clip(VISION[vision] @ linear(colour), 0, 1) @ LMS.T) @ OKLAB.T


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_hues_stay_apart_for_every_vision(page, vision):
    colours = np.array([seen(pair[page], vision) for pair in HUES.values()])
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert distances[np.triu_indices(len(colours), 1)].min() > 0.065


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_replay_is_not_taken_for_its_control(make_suite, vision, page):
    found = styles(load_suite(make_suite(strategies=("er", "er_balanced"), seeds=(0,))))
    er, control = (seen((style.colour, style.dark)[page], vision) for style in found.values())
    assert np.linalg.norm(er - control) > 0.1


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
def test_hues_stand_out_from_the_page(page):
    background = luminance(SURFACE[page])
    for pair in (*HUES.values(), GREY):
        lighter, darker = sorted((luminance(pair[page]), background), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 3


def test_a_strategy_looks_the_same_in_every_suite(make_suite, tmp_path):
    first = styles(load_suite(make_suite(strategies=("er", "simo", "joint_simo"), seeds=(0,))))
    assert first["simo"].colour == first["joint_simo"].colour
    assert first["simo"].filled
    assert not first["joint_simo"].filled
    assert css_variable_of(first["simo"].colour) == "var(--hue-blue)"


def test_entries_look_as_the_strategy_that_they_name(make_suite):
    folder = make_suite(
        strategies=("simo", "er", "joint", "joint_simo"),
        built_by={"er": "simo", "joint": "simo", "joint_simo": "simo"},
        seeds=(0,),
    )
    (config,) = (folder / "runs/joint").glob("*/config.yaml")
    config.write_text(config.read_text() + "\n  joint: true\n")
    found = styles(load_suite(folder))
    assert {style.colour for style in found.values()} == {found["simo"].colour}
    assert [style.filled for style in found.values()] == [True, True, False, False]
    assert found["er"].dashes != found["simo"].dashes
    assert found["joint"].dashes != found["joint_simo"].dashes


def test_variants_share_a_colour_and_differ_in_dashes(make_suite):
    suite = load_suite(make_suite(strategies=("simo",), variants=("a=1", "a=2"), seeds=(0,)))
    one, two = styles(suite).values()
    assert one.colour == two.colour
    assert one.dashes != two.dashes


def test_strategies_of_others_take_unused_hues(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,))
    plan = (folder / "plan.json").read_text().replace('"strategy": "er"', '"strategy": "mine"')
    (folder / "plan.json").write_text(plan)
    found = styles(load_suite(folder))
    assert found["mine"].colour not in (found["simo"].colour, SURFACE[0])


def test_more_strategies_of_others_than_unused_hues_differ_by_their_markers(make_suite):
    named = ("er", "er_ace", "der", "icarl", "supcon")
    others = ("finetune", "er_balanced", "triplet", "simo", "er_simo")
    built_by = {name: f"my_{name}" for name in others}
    suite = load_suite(make_suite(strategies=(*named, *others), built_by=built_by, seeds=(0,)))
    looks = {(style.colour, style.marker) for style in styles(suite).values()}
    assert len(looks) == len(named) + len(others)
