"""What a decomposer's training starts from: weights of an earlier one, and E_F and head trained as a classifier."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from monai_dgm.engines.classification.classifier import load_classifier
from monai_dgm.engines.weights import first_line, read_model_settings, read_state_dict
from monai_dgm.errors import InputError
from monai_dgm.networks.abnormality import PARTS, AbnormalityNetwork, fold_batch_norms
from monai_dgm.networks.classifiers import RESIDUE_ENCODERS
from monai_dgm.networks.decomposer import dgm_state_dict
from monai_dgm.networks.dgm import DGM

__all__ = ["initialise_decomposer", "parameter_groups"]


def initialise_decomposer(
    network: DGM,
    decomposer_weights: str | os.PathLike[str] | None = None,
    residue_encoder_weights: str | os.PathLike[str] | None = None,
) -> DGM:
    """Load weights into a DGM before its training, and return it.

    Args:
        network: changed in place.
        decomposer_weights: of a Decomposer or a DGM of the same sizes; what they lack (D_J) stays as it is. None to
            start from random weights.
        residue_encoder_weights: of the classifier "residue_encoder" (``bundles/opacity_classification``, task
            "abnormality", channels ["image"]) of the same width: its batch norms are folded into E_F's convolutions,
            so that E_F has none, as in Table 1. They replace those of ``decomposer_weights``. None for none.

    Raises:
        InputError: a file that is missing, or weights of other sizes.
    """
    if decomposer_weights is not None:
        state = read_state_dict(decomposer_weights, "weights of a decomposer")
        try:
            network.load_state_dict(dgm_state_dict(state, network))
        except ValueError as error:
            raise InputError(f"{decomposer_weights}: {error}") from error
    if residue_encoder_weights is not None:
        folded = _folded_classifier(residue_encoder_weights)
        try:
            network.load_state_dict({**network.state_dict(), **folded.state_dict()})
        except RuntimeError as error:
            wanted = "E_F of the width and blocks configured"
            raise InputError(f"{residue_encoder_weights}: expected {wanted}, got: {first_line(error)}") from error
    return network


def _folded_classifier(path: str | os.PathLike[str]) -> AbnormalityNetwork:
    architecture = read_model_settings(path).get("architecture")
    if architecture not in RESIDUE_ENCODERS:
        wanted = f"weights of a classifier {' or '.join(RESIDUE_ENCODERS)}"
        raise InputError(f"{path}: expected {wanted}, got {architecture or 'no classifier'}")
    classifier = load_classifier(path)
    assert isinstance(classifier, AbnormalityNetwork)
    return fold_batch_norms(classifier)


def parameter_groups(network: nn.Module, learning_rate: float, residue_encoder_factor: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: all else, and E_F and head with their own learning rate; one group where it is the same.

    Args:
        network: a DGM, possibly wrapped.
        learning_rate: of all else.
        residue_encoder_factor: times ``learning_rate`` is that of E_F and head; 1 for one learning rate, less where
            they start from a trained classifier, 0 to leave them as they are.

    Raises:
        ValueError: a factor below 0.
    """
    if residue_encoder_factor < 0:
        raise ValueError(f"residue_encoder_factor: expected a number >= 0, got {residue_encoder_factor}")
    if residue_encoder_factor == 1:
        return [{"params": list(network.parameters())}]
    own: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (others if PARTS.isdisjoint(name.split(".")) else own).append(parameter)
    return [{"params": others}, {"params": own, "lr": learning_rate * residue_encoder_factor}]
