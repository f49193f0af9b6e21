from __future__ import annotations

import copy
import pickle

import pytest
import torch
from avalanche.models import SlimResNet18
from torch import nn

from simo_cl.models.feature_hook import FeatureHook


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def captured(hook: FeatureHook, model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    hook.attach(model)
    model(images)
    hook.detach()
    assert hook.features is not None
    return hook.features


IMAGES = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_takes_the_input_of_the_last_linear_by_default():
    model = network()
    features = captured(FeatureHook(), model, IMAGES)
    assert torch.equal(features, model[:3](IMAGES))
    assert torch.equal(model[3](features), model(IMAGES))


def test_the_default_fits_a_model_that_pools_in_its_forward():
    model = SlimResNet18(10, nf=8).eval()
    images = torch.randn(3, 3, 32, 32)
    features = captured(FeatureHook(), model, images)
    assert features.shape == (3, 64)
    assert torch.equal(model.linear(features), model(images))


def test_averages_a_layers_output_over_positions():
    model = network()
    features = captured(FeatureHook("0"), model, IMAGES)
    torch.testing.assert_close(features, model[0](IMAGES).flatten(2).mean(dim=2))


def test_takes_a_vector_output_as_it_is():
    model = network()
    assert torch.equal(captured(FeatureHook("3"), model, IMAGES), model(IMAGES))


def test_keeps_the_first_of_several_passes_and_nothing_after_detaching():
    model, hook = network(), FeatureHook()
    hook.attach(model)
    first = model[:3](IMAGES)
    model(IMAGES)
    model(IMAGES[:2])
    hook.detach()
    model(IMAGES[:1])
    assert torch.equal(hook.features, first)
    hook.attach(model)
    assert hook.features is None


def test_prefers_a_pass_that_tracks_gradients():
    model, hook = network(), FeatureHook()
    hook.attach(model)
    with torch.no_grad():
        model(IMAGES)
    assert len(hook.features) == 5
    model(IMAGES[:2])
    model(IMAGES[:3])
    hook.detach()
    assert len(hook.features) == 2
    assert hook.features.requires_grad


def test_passes_of_a_copy_do_not_count():
    model, hook = network(), FeatureHook()
    frozen = copy.deepcopy(model)
    hook.attach(model)
    frozen(IMAGES)
    assert hook.features is None


def test_leaves_no_trace_on_the_model():
    model, hook = network(), FeatureHook()
    for _ in range(2):
        hook.attach(model)
    hook.detach()
    hook.detach()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    copy.deepcopy(model)
    pickle.dumps((model, hook))


@pytest.mark.parametrize("layer", ["classifier", ""])
def test_an_unknown_layer_names_those_there_are(layer):
    with pytest.raises(ValueError, match=f"no layer '{layer}' in Sequential; it has: 0, 1, 2, 3"):
        FeatureHook(layer).attach(network())


def test_a_model_without_a_linear_needs_a_name():
    with pytest.raises(ValueError, match=r"Sequential has no nn\.Linear.*name a layer: 0, 1"):
        FeatureHook().attach(network()[:2])


def test_a_layer_that_gives_no_tensor_is_refused():
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    model = nn.Sequential(Pair())
    hook = FeatureHook("0")
    hook.attach(model)
    with pytest.raises(
        ValueError, match="'0' gives a tuple; name one with layer= that gives a tensor"
    ):
        model(IMAGES)
