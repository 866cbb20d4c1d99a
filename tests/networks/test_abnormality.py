"""E_F and the head alone, and batch norms that are folded away."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_dgm.networks.abnormality import AbnormalityNetwork, fold_batch_norms
from monai_dgm.networks.dgm import DGM

SIZE = {"base_width": 2, "num_res_blocks": 1}


def with_batch_norms() -> AbnormalityNetwork:
    torch.manual_seed(0)
    network = AbnormalityNetwork(2, 2, norm="batch").double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    nn.init.normal_(network.abnormality_head.linear.weight)
    return network.eval()


def test_folded_network_is_e_f_of_the_paper_with_the_same_logits() -> None:
    network, image = with_batch_norms(), torch.rand(3, 1, 64, 96, dtype=torch.float64) * 2 - 1
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norms(network)
    torch.testing.assert_close(folded(image), network(image))
    assert network(image).std() > 1e-4
    for one, other in zip(folded.residue_encoder(image), network.residue_encoder(image), strict=True):
        torch.testing.assert_close(one, other)  # every skip connection, too
    plain = AbnormalityNetwork(2, 2)
    assert folded.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(folded.state_dict())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_without_batch_norms_nothing_changes() -> None:
    network = AbnormalityNetwork(2, 1)
    folded = fold_batch_norms(network)
    assert all(torch.equal(value, folded.state_dict()[name]) for name, value in network.state_dict().items())


def test_size_of_the_papers_is_a_quarter_of_the_decomposers_parameters() -> None:
    with torch.device("meta"):
        head, dgm = AbnormalityNetwork(), DGM(joint_decoder=False)
    count = {network: sum(p.numel() for p in network.parameters()) for network in (head, dgm)}
    assert count[head] == pytest.approx(21.70e6, rel=1e-3)  # E_F of Table 1
    assert count[head] < 0.3 * count[dgm]


def test_scripted_network_gives_the_same() -> None:
    network, image = AbnormalityNetwork(**SIZE).eval(), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(network)(image), network(image))


def test_other_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        AbnormalityNetwork(**SIZE)(torch.zeros(1, 1, 40, 40))
