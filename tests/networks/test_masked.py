"""The masked composition: identity by construction, and the same numbers from the network that ships."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from scipy import ndimage

from monai_dgm.engines.residues.features import predict_with_features
from monai_dgm.networks.abnormality import AbnormalityNetwork
from monai_dgm.networks.decomposer import Decomposer, dgm_state_dict
from monai_dgm.networks.dgm import DGM, compose_masked
from monai_dgm.networks.residue_system import split_prediction

SMALL: dict[str, Any] = {"base_width": 2, "num_res_blocks": 1, "normal_skips": True, "residue_skips": True}
MASKED = {**SMALL, "composition": "masked"}
LITE = {**MASKED, "residue_encoder": "efficientnet_lite2", "num_categories": 3}


def image(count: int = 2) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(count, 1, 64, 64) * 2 - 1


def network(settings: dict[str, Any]) -> DGM:
    torch.manual_seed(1)
    dgm = DGM(joint_decoder=False, **settings)
    for _ in range(2):  # statistics of batch norms
        dgm(image(4))
    return dgm.eval()


def test_composition_is_written_out() -> None:
    z, proposal, logit = torch.randn(3, 2, 1, 8, 8).unbind(0)
    normal, residue = compose_masked(z, proposal, logit)
    mask = 1 / (1 + torch.exp(-logit))
    torch.testing.assert_close(residue, mask * (z - proposal))
    torch.testing.assert_close(normal, (1 - mask) * z + mask * proposal)


@pytest.mark.parametrize("settings", [MASKED, LITE])
def test_residue_and_normal_image_add_up_to_the_radiograph(settings: dict[str, Any]) -> None:
    z = image()
    with torch.no_grad():
        outputs = network(settings)(z)
    torch.testing.assert_close(outputs["normal"] + outputs["residue"], z, atol=1e-6, rtol=0)
    mask = torch.sigmoid(outputs["mask_logit"])
    torch.testing.assert_close(outputs["residue"], mask * (z - outputs["proposal"]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("settings", [MASKED, LITE])
def test_the_network_that_ships_gives_the_same(settings: dict[str, Any]) -> None:
    dgm, z = network(settings), image()
    decomposer = Decomposer(**settings)
    decomposer.load_state_dict(Decomposer.from_dgm(dgm).state_dict())
    scripted = io.BytesIO()
    torch.jit.save(torch.jit.script(decomposer.eval()), scripted)
    scripted.seek(0)
    with torch.no_grad():
        expected = dgm(z)
        for one in (decomposer, torch.jit.load(scripted)):
            found = split_prediction(one(z))
            torch.testing.assert_close(found["normal"], expected["normal"], atol=2e-4, rtol=0)
            torch.testing.assert_close(found["residue"], expected["residue"], atol=2e-4, rtol=0)
            probability = torch.sigmoid(expected["abnormality_logit"][:, 0])
            torch.testing.assert_close(found["abnormality_probability"], probability, atol=1e-4, rtol=0)


def test_the_head_alone_gives_the_same_with_imagenets_encoder() -> None:
    dgm, z = network(LITE), image()
    state = Decomposer.from_dgm(dgm).state_dict()
    alone = AbnormalityNetwork(2, 1, residue_encoder="efficientnet_lite2").eval()
    alone.load_state_dict({name: state[name] for name in alone.state_dict()})
    with torch.no_grad():
        torch.testing.assert_close(alone(z), dgm(z)["abnormality_logit"], atol=1e-4, rtol=0)


def test_smoothing_averages_the_heads_logits_and_changes_nothing_else() -> None:
    dgm, z = network(LITE), image()
    plain, smoothed = Decomposer.from_dgm(dgm), Decomposer(**LITE, head_smoothing=0.7).eval()
    assert smoothed.load_state_dict(plain.state_dict(), strict=False).missing_keys == ["head_smoothing.kernel"]
    alone = AbnormalityNetwork(2, 1, residue_encoder="efficientnet_lite2", head_smoothing=0.7).eval()
    alone.load_state_dict({name: smoothed.state_dict()[name] for name in alone.state_dict()})
    filtered = torch.from_numpy(
        ndimage.gaussian_filter(z.numpy(), (0, 0, 0.7, 0.7), mode="mirror", radius=(0, 0, 2, 2))
    )
    with torch.no_grad():
        logits = (dgm(z)["abnormality_logit"] + dgm(filtered)["abnormality_logit"]) / 2
        for one in (smoothed, torch.jit.script(smoothed)):
            found = split_prediction(one(z))
            torch.testing.assert_close(found["abnormality_probability"], torch.sigmoid(logits[:, 0]), atol=1e-4, rtol=0)
            torch.testing.assert_close(found["residue"], split_prediction(plain(z))["residue"], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone(z), logits, atol=1e-4, rtol=0)
        features = [predict_with_features(one, z)[1] for one in (plain, smoothed)]
    torch.testing.assert_close(features[1], features[0], atol=1e-4, rtol=0)  # those of the radiograph


def test_training_goes_on_from_a_smoothed_head() -> None:
    dgm = network(MASKED)
    smoothed = Decomposer(**MASKED, head_smoothing=0.7)
    smoothed.load_state_dict(Decomposer.from_dgm(dgm).state_dict(), strict=False)
    torch.testing.assert_close(dgm_state_dict(smoothed.state_dict(), dgm), dict(dgm.state_dict()))


def test_categories_are_probabilities() -> None:
    dgm, z = network(LITE), image()
    decomposer = Decomposer.from_dgm(dgm)
    with torch.no_grad():
        found = decomposer.category_probabilities(z)
        torch.testing.assert_close(found, torch.softmax(dgm(z)["category_logits"], 1), atol=1e-4, rtol=0)
    assert found.shape == (2, 3)
    with pytest.raises(ValueError, match="categories"):
        Decomposer.from_dgm(network(SMALL)).category_probabilities(z)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"composition": "multiplied"}, "composition"),
        ({"residue_encoder": "resnet", "joint_decoder": False}, "residue_encoder"),
        ({"residue_encoder": "efficientnet_lite2"}, "joint_decoder"),
    ],
)
def test_what_there_is_not_is_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DGM(**SMALL, **settings)


def test_the_additive_form_stays_the_default() -> None:
    dgm = DGM(**SMALL)
    outputs = dgm(image())
    assert not dgm.masked and "mask_logit" not in outputs and "category_logits" not in outputs
    torch.testing.assert_close(outputs["reconstruction"], outputs["normal"] + outputs["residue"])
