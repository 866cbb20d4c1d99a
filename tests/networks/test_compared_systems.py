"""The compared systems: what every residue system must do, and structures as in their authors' code.

The numbers of parameters are those that the authors' code has for one input channel at the commit that is named; with
the authors' weights in our networks the outputs are equal (docs/systems.md).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from monai_dgm.networks.aeu import AEU, UncertaintyAutoencoder
from monai_dgm.networks.cyclegan import CycleGAN, CycleGANTranslators, ResNetTranslator
from monai_dgm.networks.ddad import DDAD
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.networks.drit import (
    DRIT,
    AttributeEncoder,
    ContentDiscriminator,
    ContentEncoder,
    DRITDecoder,
    DRITNetworks,
)
from monai_dgm.networks.munit import MUNIT, AdaINDecoder, ContentStyleAutoencoder, MUNITAutoencoders
from monai_dgm.networks.residue_system import ResidueSystem, build_residue_system, split_prediction
from monai_dgm.networks.vagan import VAGAN, Critic, MapGenerator

SMALL: dict[str, dict[str, Any]] = {
    "vagan": {"base_width": 2},
    "cyclegan": {"base_width": 2, "num_res_blocks": 1},
    "munit": {"base_width": 2, "num_res_blocks": 1},
    "drit": {"base_width": 2},
    "aeu": {"image_size": 32, "base_width": 2, "hidden": 8},
    "ddad": {"image_size": 32, "base_width": 2, "hidden": 8, "num_members": 2},
}
BY_DIFFERENCE = ("vagan", "cyclegan", "munit", "drit")


def build(name: str, **settings: Any) -> ResidueSystem:
    return build_residue_system({"architecture": name, "network_settings": {**SMALL[name], **settings}}).eval()


def image(batch: int = 2, size: int = 32) -> Tensor:
    return torch.rand(batch, 1, size, size) * 2 - 1


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_a_system_by_name_gives_normal_image_and_residue_without_probability(name: str) -> None:
    system = build(name)
    with torch.inference_mode():
        parts = split_prediction(system(image()))
    assert parts["normal"].shape == parts["residue"].shape == (2, 1, 32, 32)
    assert parts["normal"].abs().max() <= 1 and parts["residue"].abs().max() <= 1
    assert parts["abnormality_probability"].isnan().all()
    assert system.architecture == name


@pytest.mark.parametrize("name", SMALL)
def test_settings_make_the_same_network_again(name: str) -> None:
    system = build(name)
    settings = json.loads(json.dumps(system.network_settings()))
    again = build_residue_system({"architecture": name, "network_settings": settings}).eval()
    again.load_state_dict(system.state_dict())
    x = image()
    with torch.inference_mode():
        torch.testing.assert_close(again(x), system(x), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", BY_DIFFERENCE)
def test_normal_image_and_residue_add_up_to_the_radiograph(name: str) -> None:
    x = image() * 0.4  # so that no difference is cut
    with torch.inference_mode():
        parts = split_prediction(build(name)(x))
    kept = parts["residue"].abs() < 1
    assert kept.float().mean() > 0.5
    torch.testing.assert_close((parts["normal"] + parts["residue"])[kept], x[kept], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_sides_that_do_not_fit_are_one_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"image: expected"):
        build(name)(torch.zeros(1, 1, 30, 30))


def test_vagan_without_a_map_changes_nothing() -> None:
    network = VAGAN(2, use_tanh=False).eval()
    nn.init.zeros_(network.map_generator.output.weight)
    x = image()
    with torch.inference_mode():
        parts = split_prediction(network(x))
    torch.testing.assert_close(parts["normal"], x)
    assert parts["residue"].abs().max() == 0


def test_vagans_normal_image_is_radiograph_plus_map() -> None:
    x = image()
    for use_tanh in (False, True):
        network = VAGAN(2, use_tanh).eval()
        with torch.inference_mode():
            moved = x + network.map_generator(x)
            torch.testing.assert_close(network.normal_image(x), torch.tanh(moved) if use_tanh else moved)


def test_vagan_has_the_size_of_its_authors_networks() -> None:
    """baumgach/vagan-code, b9f2483: unet_16_2D_bn and C3D_fcn_16_2D."""
    assert count(MapGenerator()) == 460_833 + 1_472  # convolutions, batch norms
    assert count(Critic()) == 1_757_249
    assert MapGenerator()(image(1, 112)).shape == (1, 1, 112, 112) and Critic()(image(2, 112)).shape == (2,)


def test_vagans_critic_scores_images_apart() -> None:
    critic, x = Critic(2), image(3)
    torch.testing.assert_close(critic(x), torch.cat([critic(one[None]) for one in x]))


def test_cyclegan_has_the_size_of_its_authors_networks() -> None:
    """taesungp/contrastive-unpaired-translation, b3ac297, without anti-aliasing: its authors' code of CycleGAN."""
    with torch.device("meta"):
        assert count(ResNetTranslator()) == 11_365_633
        discriminator = PatchDiscriminator(2, 64, 1, num_layers_d=3, norm="INSTANCE", bias=True)
        assert count(discriminator) == 2_762_689
        assert discriminator(torch.zeros(1, 1, 224, 224))[-1].shape == (1, 1, 26, 26)


def test_a_score_of_cyclegans_discriminator_sees_70_pixels() -> None:
    discriminator = PatchDiscriminator(2, 2, 1, num_layers_d=3, norm=None, bias=True)  # type: ignore[arg-type]
    x = torch.rand(1, 1, 256, 256, requires_grad=True)
    discriminator(x)[-1][0, 0, 15, 15].backward()
    assert x.grad is not None
    rows = x.grad[0, 0].abs().sum(dim=1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_cyclegans_inference_network_is_the_translator_to_normal() -> None:
    both, x = CycleGANTranslators(2, 1).eval(), image()
    network = both.inference_network()
    assert isinstance(network, CycleGAN) and not network.training
    with torch.inference_mode():
        torch.testing.assert_close(network(x), both(x), equal_nan=True)
        torch.testing.assert_close(split_prediction(network(x))["normal"], both.to_normal(x))
    nn.init.zeros_(both.to_normal[0].weight)
    assert network.to_normal[0].weight.abs().max() > 0  # a copy


def test_munit_has_the_size_of_its_authors_networks() -> None:
    """NVlabs/MUNIT, a82e222, its configurations: AdaINGen and MsImageDis."""
    with torch.device("meta"):
        autoencoder = ContentStyleAutoencoder()
        assert count(autoencoder) == 15_007_369
        assert count(autoencoder.content_encoder) == 5_379_584 and count(autoencoder.style_encoder) == 2_758_664
        assert count(autoencoder.decoder) == 5_748_353 + 1_120_768  # decoder, MLP
        content, style = autoencoder.encode(torch.zeros(1, 1, 224, 224))
        assert content.shape == (1, 256, 56, 56) and style.shape == (1, 8)
        assert autoencoder.decode(content, style).shape == (1, 1, 224, 224)
        discriminator = MultiScaleDiscriminator(padding_mode="reflect")
        assert count(discriminator) == 8_265_027
        scores = discriminator(torch.zeros(1, 1, 224, 224))
        assert [tuple(scale.shape) for scale in scores] == [(1, 1, side, side) for side in (14, 7, 3)]


def test_munits_style_sets_mean_and_spread_of_the_contents() -> None:
    """After the AdaIN of a block each channel has the shift as its mean and the scale as its standard deviation."""
    decoder = AdaINDecoder(2, 1)
    seen: list[Tensor] = []
    decoder.blocks[0].norm_1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    style = torch.randn(2, 8)
    decoder(torch.randn(2, 8, 8, 8), style)
    scale, shift = decoder.mlp(style).view(2, 4, 8)[:, :2].unbind(1)
    torch.testing.assert_close(seen[0].mean(dim=(2, 3)), shift, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(seen[0].std(dim=(2, 3), correction=0), scale.abs(), rtol=1e-3, atol=1e-4)


def test_munits_content_has_no_style_of_its_own() -> None:
    """Instance normalisation: brightness and contrast of an image do not reach its content."""
    autoencoder, x = ContentStyleAutoencoder(2, 1), image()
    content, _ = autoencoder.encode(x)
    brighter, _ = autoencoder.encode(0.5 * x + 0.3)
    torch.testing.assert_close(content, brighter, rtol=1e-3, atol=1e-3)


def test_munits_inference_network_decodes_abnormal_contents_with_the_normal_style() -> None:
    both, x = MUNITAutoencoders(2, 1).eval(), image()
    both.normal_style.normal_()
    network = both.inference_network()
    assert isinstance(network, MUNIT) and not network.training
    with torch.inference_mode():
        content, _ = both.abnormal.encode(x)
        expected = both.normal.decode(content, both.normal_style.expand(2, -1))
        torch.testing.assert_close(split_prediction(network(x))["normal"], expected)
        torch.testing.assert_close(both(x), network(x), equal_nan=True)


def test_drit_has_the_size_of_its_authors_networks() -> None:
    """HsinYingLee/DRIT, f19f50a: E_content, E_attr_concat, G_concat, MultiScaleDis and Dis_content."""
    with torch.device("meta"):
        encoder, decoder, attributes = ContentEncoder(), DRITDecoder(), AttributeEncoder()
        assert count(encoder) == 9_005_568 and 2 * count(attributes) == 2_684_064 and count(decoder) == 9_564_386
        assert count(ContentDiscriminator(216)) == count(ContentDiscriminator(224)) == 10_683_649
        content = encoder(torch.zeros(1, 1, 224, 224), "normal")
        mean, _ = attributes(torch.zeros(1, 1, 224, 224))
        assert content.shape == (1, 256, 56, 56) and mean.shape == (1, 8)
        assert decoder(content, mean, "normal").shape == (1, 1, 224, 224)
        assert ContentDiscriminator(224)(content).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("size", [32, 64, 96, 128, 160, 192, 256])
def test_drits_content_discriminator_fits_images_of_other_sides(size: int) -> None:
    logits = ContentDiscriminator(size, 1)(torch.zeros(2, 4, size // 4, size // 4))
    assert logits.shape[:2] == (2, 1) and 1 <= logits.shape[2] <= 5


def test_drits_contents_are_noisy_only_while_training() -> None:
    encoder, x = ContentEncoder(2), image()
    assert not torch.equal(encoder(x, "normal"), encoder(x, "normal"))
    encoder.eval()
    torch.testing.assert_close(encoder(x, "normal"), encoder(x, "normal"))


def test_drits_inference_network_decodes_abnormal_contents_with_normal_attributes() -> None:
    both, x = DRITNetworks(2).eval(), image()
    both.normal_attributes.normal_()
    network = both.inference_network()
    assert isinstance(network, DRIT) and not network.training
    with torch.inference_mode():
        content = both.content_encoder(x, "abnormal")
        expected = both.decoder(content, both.normal_attributes.expand(2, -1), "normal")
        torch.testing.assert_close(split_prediction(network(x))["normal"], expected)
        torch.testing.assert_close(both(x), network(x), equal_nan=True)


def test_ddads_residue_is_where_its_modules_disagree() -> None:
    network, x = DDAD(32, 2, hidden=8, num_members=2).eval(), image()
    network.typical_deviation.fill_(0.1)
    with torch.inference_mode():
        parts = split_prediction(network(x))
        a = torch.stack([member(x)[0] for member in network.module_a]).mean(0)
        b = torch.stack([member(x)[0] for member in network.module_b]).mean(0)
        variance = torch.stack([member(x)[1].exp() for member in network.module_b]).mean(0)
    inter_discrepancy = ((a - b) ** 2 / variance).sqrt()  # of the authors' code
    torch.testing.assert_close(parts["residue"].abs() / 0.1, inter_discrepancy, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(parts["normal"], b.clamp(-1, 1))


def test_modules_of_ddad_that_agree_leave_no_residue() -> None:
    network = DDAD(32, 2, hidden=8, num_members=2).eval()
    network.module_a.load_state_dict(network.module_b.state_dict())
    with torch.inference_mode():
        assert split_prediction(network(image()))["residue"].abs().max() < 1e-6


@pytest.mark.parametrize(("size", "expected"), [(64, 4_487_504), (96, 9_731_664)])
def test_aeu_has_the_size_of_its_authors_network(size: int, expected: int) -> None:
    """caiyu6666/DDAD, e286f3a: AE with unc=True and 16 numbers of code."""
    with torch.device("meta"):
        network = UncertaintyAutoencoder(size)
        assert count(network) == expected
        assert [tuple(part.shape) for part in network(torch.zeros(2, 1, size, size))] == 2 * [(2, 1, size, size)]


def test_aeus_residue_ranks_pixels_as_error_over_uncertainty() -> None:
    network = AEU(32, 2, hidden=8).eval()
    network.typical_deviation.fill_(0.01)  # so that nothing is cut
    x = image()
    with torch.inference_mode():
        residue = split_prediction(network(x))["residue"]
        mean, log_variance = network.autoencoder(x)
    score = (x - mean) ** 2 / log_variance.exp()
    torch.testing.assert_close((residue / 0.01) ** 2, score, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(residue.sign(), (x - mean).sign())


def test_aeus_residue_without_weights_is_the_error() -> None:
    network, x = AEU(32, 2, hidden=8, weighted=False).eval(), image()
    with torch.inference_mode():
        parts = split_prediction(network(x))
        mean, _ = network.autoencoder(x)
    torch.testing.assert_close(parts["residue"], (x - mean).clamp(-1, 1))


def test_aeu_is_made_for_one_side() -> None:
    with pytest.raises(ValueError, match="image_size: expected a multiple of 16, got 40"):
        AEU(40)
    with pytest.raises(ValueError, match="sides of 32"):
        AEU(32, 2, hidden=8).eval()(image(1, 64))
