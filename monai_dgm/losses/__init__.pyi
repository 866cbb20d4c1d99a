from .adversarial import discriminator_adversarial_loss as discriminator_adversarial_loss
from .adversarial import generator_adversarial_loss as generator_adversarial_loss
from .adversarial import r1_penalty as r1_penalty
from .latent import kl_loss as kl_loss
from .latent import latent_regression_loss as latent_regression_loss
from .objective import DGMObjective as DGMObjective
from .objective import ObjectiveWeights as ObjectiveWeights
from .reconstruction import balanced_l1_loss as balanced_l1_loss
from .reconstruction import blank_residue_loss as blank_residue_loss
from .reconstruction import l1_loss as l1_loss
from .reconstruction import normal_ssim_loss as normal_ssim_loss
from .reconstruction import residue_evidence_loss as residue_evidence_loss
from .reconstruction import weighted_l1_loss as weighted_l1_loss
from .total_variation import total_variation_loss as total_variation_loss

__all__ = [
    "DGMObjective",
    "ObjectiveWeights",
    "balanced_l1_loss",
    "blank_residue_loss",
    "discriminator_adversarial_loss",
    "generator_adversarial_loss",
    "kl_loss",
    "l1_loss",
    "latent_regression_loss",
    "normal_ssim_loss",
    "r1_penalty",
    "residue_evidence_loss",
    "total_variation_loss",
    "weighted_l1_loss",
]
