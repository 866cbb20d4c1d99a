"""The DGM against Tables 1 and 2, layer by layer, and what depends on what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from monai_dgm.networks.blocks import AdaptiveInstanceNorm, InstanceNorm, UpsampleConv2d
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.encoder_decoder import Decoder, Encoder, JointDecoder

# Table 1: side and channels of the input, of the output, side of the filter, stride.
TABLE_1 = [(224, 1, 112, 64, 7, 2), (112, 64, 56, 64, 4, 2), (56, 64, 28, 128, 4, 2), (28, 128, 14, 256, 4, 2)]
TABLE_1 += [(14, 256, 7, 512, 4, 2)] + 8 * [(7, 512, 7, 512, 3, 1)]
# Table 2, the same, an upsampling by 2 before the convolution of the last five.
TABLE_2_BLOCKS = 8 * [(7, 512, 7, 512, 3, 1)]
TABLE_2_UP = [(7, 512, 14, 512, 5, 1), (14, 512, 28, 256, 5, 1), (28, 256, 56, 128, 5, 1), (56, 128, 112, 64, 5, 1)]
TABLE_2_UP += [(112, 64, 224, 1, 7, 1)]

Layer = tuple[int, int, int, int, int, int]


class Recorder:
    """The leaf modules that ran, in order, and the sizes of the convolutions among them."""

    def __init__(self, network: nn.Module) -> None:
        self.order: list[str] = []
        self.convolutions: list[Layer] = []
        for module in network.modules():
            if not list(module.children()) or isinstance(module, AdaptiveInstanceNorm):
                module.register_forward_hook(self._record)

    def _record(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | UpsampleConv2d):
            x, stride = inputs[0], getattr(module, "stride", (1, 1))[0]
            assert x.shape[2] == x.shape[3] and output.shape[2] == output.shape[3]
            kernel = module.weight.shape[-1]
            self.convolutions.append((x.shape[2], x.shape[1], output.shape[2], output.shape[1], kernel, stride))
            self.order.append("conv")
        elif isinstance(module, AdaptiveInstanceNorm):
            self.order.append("adain")
        elif isinstance(module, nn.GroupNorm):
            assert module.num_groups == 1 and module.affine
            self.order.append("layer")
        elif isinstance(module, InstanceNorm):
            self.order.append("instance")


@pytest.fixture
def full_size() -> Iterator[DGM]:
    """The paper's network without memory or arithmetic: shapes only."""
    with torch.device("meta"):
        network = DGM()
        for module in network.modules():
            if isinstance(module, UpsampleConv2d):
                module.folded = False  # as the paper writes it; folding enters autocast, which has no meta device
        yield network


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def small_dgm(**settings: object) -> DGM:
    return DGM(**{"base_width": 2, "num_res_blocks": 1, **settings})  # type: ignore[arg-type]


def image(*shape: int) -> Tensor:
    return torch.rand(*shape) * 2 - 1


@pytest.mark.parametrize(("encoder", "norm"), [("normal_encoder", "instance"), ("residue_encoder", None)])
def test_encoders_are_table_1(full_size: DGM, encoder: str, norm: str | None) -> None:
    network = getattr(full_size, encoder)
    recorder = Recorder(network)
    features = network(torch.empty(1, 1, 224, 224, device="meta"))
    assert recorder.convolutions == TABLE_1
    assert recorder.order == 13 * (["conv"] if norm is None else ["conv", norm])
    assert [tuple(f.shape[1:]) for f in features] == [
        (64, 112, 112),
        (64, 56, 56),
        (128, 28, 28),
        (256, 14, 14),
        (512, 7, 7),
    ]


@pytest.mark.parametrize("decoder", ["normal_decoder", "residue_decoder"])
def test_decoders_are_table_2(full_size: DGM, decoder: str) -> None:
    network = getattr(full_size, decoder)
    recorder = Recorder(network)
    features = [torch.empty(1, 512, 7, 7, device="meta")] * 5
    output = network(features, torch.empty(1, 1, 224, 224, device="meta"))
    assert output.shape == (1, 1, 224, 224)
    assert recorder.convolutions == TABLE_2_BLOCKS + TABLE_2_UP
    assert recorder.order == 12 * ["conv", "layer"] + ["conv"]


def test_joint_decoder_is_table_2_with_adain_in_its_residual_blocks(full_size: DGM) -> None:
    network = full_size.joint_decoder
    assert network is not None
    recorder = Recorder(network)
    code = torch.empty(1, 512, 7, 7, device="meta")
    assert network(code, code).shape == (1, 1, 224, 224)
    shortcut = (7, 1024, 7, 512, 1, 1)  # the first block's input has another width than its output
    expected = [(7, 1024, 7, 512, 3, 1), *TABLE_2_BLOCKS[1:], *TABLE_2_UP]
    assert sorted(recorder.convolutions) == sorted([shortcut, *expected])
    assert [c for c in recorder.convolutions if c != shortcut] == expected
    assert recorder.order.count("adain") == 8 and recorder.order.count("layer") == 4


def test_parameters_of_the_residue_encoder(full_size: DGM) -> None:
    assert count(full_size.residue_encoder) / 1e6 == pytest.approx(21.70, abs=0.005)
    with torch.device("meta"):
        one_block = DGM(num_res_blocks=1)
    assert count(one_block.residue_encoder) / 1e6 == pytest.approx(7.54, abs=0.005)
    # Transcribed from Table 1: weights and biases of each convolution.
    assert count(full_size.residue_encoder) == sum(i * o * k * k + o for _, i, _, o, k, _ in TABLE_1)
    assert count(full_size.normal_encoder) == count(full_size.residue_encoder)  # instance norm has none


def test_six_parts_share_no_weights() -> None:
    network = small_dgm()
    pointers = [parameter.data_ptr() for parameter in network.parameters()]
    assert len(set(pointers)) == len(pointers) == len(list(network.named_parameters(remove_duplicate=False)))


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (96, 160)])
def test_any_multiple_of_32_works(size: tuple[int, int]) -> None:
    outputs = small_dgm()(image(2, 1, *size))
    for name in ("normal", "residue", "reconstruction", "joint_reconstruction"):
        assert outputs[name].shape == (2, 1, *size)
        assert torch.isfinite(outputs[name]).all()
    assert outputs["abnormality_logit"].shape == (2, 1)
    for name in ("normal_code", "residue_code"):
        assert outputs[name].shape == (2, 16, size[0] // 32, size[1] // 32)
    for name in ("normal", "residue", "joint_reconstruction"):
        assert outputs[name].abs().max() <= 1
    assert torch.equal(outputs["reconstruction"], outputs["normal"] + outputs["residue"])


@pytest.mark.parametrize("shape", [(1, 1, 224, 200), (1, 1, 31, 32), (1, 1, 64, 65), (1, 64, 64)])
def test_other_sides_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 32, got"):
        small_dgm()(image(*shape))


def test_without_joint_decoder_there_is_no_joint_reconstruction() -> None:
    torch.manual_seed(3)
    full = small_dgm()
    ablated = small_dgm(joint_decoder=False)
    assert ablated.joint_decoder is None
    ablated.load_state_dict({k: v for k, v in full.state_dict().items() if not k.startswith("joint_decoder.")})
    x = image(1, 1, 64, 64)
    theirs, ours = full(x), ablated(x)
    assert set(theirs) - set(ours) == {"joint_reconstruction"}
    assert torch.equal(ours["normal"], theirs["normal"]) and torch.equal(ours["residue"], theirs["residue"])


PARTS = {"normal_encoder", "residue_encoder", "normal_decoder", "residue_decoder", "joint_decoder", "abnormality_head"}


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ("normal", {"normal_encoder", "normal_decoder"}),
        ("residue", {"residue_encoder", "residue_decoder"}),
        ("joint_reconstruction", {"normal_encoder", "residue_encoder", "joint_decoder"}),
        ("abnormality_logit", {"residue_encoder", "abnormality_head"}),
    ],
)
@pytest.mark.parametrize("skips", [False, True])
def test_each_output_comes_from_its_parts_alone(output: str, parts: set[str], skips: bool) -> None:
    network = small_dgm(normal_skips=skips, residue_skips=skips)
    network(image(2, 1, 64, 64))[output].square().sum().backward()
    reached = {n.split(".")[0] for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == parts


def test_joint_decoder_reads_both_codes_and_scales_by_the_residue_code() -> None:
    decoder = JointDecoder(base_width=2, num_res_blocks=2)
    normal_code = torch.randn(1, 16, 2, 2, requires_grad=True)
    residue_code = torch.randn(1, 16, 2, 2, requires_grad=True)
    output = decoder(normal_code, residue_code)
    for gradient in torch.autograd.grad(output.square().sum(), (normal_code, residue_code), retain_graph=True):
        assert gradient.abs().max() > 0
    mlp = torch.autograd.grad(output.square().sum(), list(decoder.mlp.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in mlp)


def test_the_mlp_reads_the_residue_code_only_as_its_mean() -> None:
    decoder = JointDecoder(base_width=2, num_res_blocks=1)
    seen: list[Tensor] = []
    decoder.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    residue_code = torch.randn(2, 16, 3, 4)
    decoder(torch.randn(2, 16, 3, 4), residue_code)
    torch.testing.assert_close(seen[0], residue_code.flatten(2).sum(dim=2) / 12)


def test_head_is_one_neuron_on_the_pooled_residue_code() -> None:
    network = small_dgm()
    outputs = network(image(3, 1, 64, 64))
    linear = network.abnormality_head.linear
    pooled = outputs["residue_code"].flatten(2).mean(dim=2)
    torch.testing.assert_close(outputs["abnormality_logit"], pooled @ linear.weight.t() + linear.bias)
    assert count(network.abnormality_head) == 16 + 1


def test_samples_of_a_batch_do_not_mix() -> None:
    network = small_dgm(normal_skips=True)
    x = image(3, 1, 64, 64)
    together = network(x)
    for i in range(3):
        for name, value in network(x[i : i + 1]).items():
            torch.testing.assert_close(value[0], together[name][i], rtol=1e-4, atol=1e-5)


def test_skips_are_off_by_default_and_pass_the_image_when_on() -> None:
    assert not any("skips" in name for name in small_dgm().state_dict())
    encoder, decoder = Encoder("instance", base_width=2, num_res_blocks=1), Decoder(1, 2, 1, skip_connections=True)
    x = image(1, 1, 64, 64)
    features = encoder(x)
    baseline = decoder(features, x)
    assert not torch.allclose(decoder(features, image(1, 1, 64, 64)), baseline)
    for i in range(4):
        changed = list(features)
        changed[i] = torch.randn_like(features[i])
        assert not torch.allclose(decoder(changed, x), baseline)
    plain = Decoder(1, 2, 1)
    assert torch.equal(plain(features, x), plain([torch.zeros(()), *features[1:]], image(1, 1, 64, 64)))


def test_direct_upsampling_gives_the_same_outputs() -> None:
    network = small_dgm(base_width=4)
    x = image(1, 1, 64, 96)
    folded = network(x)
    for module in network.modules():
        if isinstance(module, UpsampleConv2d):
            module.folded = False
    for name, value in network(x).items():
        torch.testing.assert_close(value, folded[name], rtol=1e-4, atol=1e-5)


def test_an_untrained_network_is_well_scaled() -> None:
    with torch.no_grad():
        outputs = DGM(base_width=8)(image(2, 1, 64, 64))
    assert 0.05 < outputs["residue_code"].std() < 20  # no norm holds it
    assert outputs["residue"].abs().mean() < 0.9 and outputs["normal"].abs().mean() < 0.9  # tanh is not saturated
