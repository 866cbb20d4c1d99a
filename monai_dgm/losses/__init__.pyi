from .adversarial import cross_entropy_loss as cross_entropy_loss
from .adversarial import discriminator_adversarial_loss as discriminator_adversarial_loss
from .adversarial import generator_adversarial_loss as generator_adversarial_loss
from .adversarial import least_squares_loss as least_squares_loss
from .adversarial import r1_penalty as r1_penalty
from .latent import gaussian_kl_loss as gaussian_kl_loss
from .latent import kl_loss as kl_loss
from .latent import latent_regression_loss as latent_regression_loss
from .latent import mode_seeking_loss as mode_seeking_loss
from .objective import DGMObjective as DGMObjective
from .objective import ObjectiveWeights as ObjectiveWeights
from .reconstruction import balanced_l1_loss as balanced_l1_loss
from .reconstruction import blank_residue_loss as blank_residue_loss
from .reconstruction import l1_loss as l1_loss
from .reconstruction import normal_ssim_loss as normal_ssim_loss
from .reconstruction import residue_evidence_loss as residue_evidence_loss
from .reconstruction import total_variation_loss as total_variation_loss
from .reconstruction import uncertainty_loss as uncertainty_loss
from .reconstruction import weighted_l1_loss as weighted_l1_loss
from .wasserstein import critic_loss as critic_loss
from .wasserstein import gradient_penalty as gradient_penalty
from .wasserstein import wasserstein_generator_loss as wasserstein_generator_loss

__all__ = [
    "DGMObjective",
    "ObjectiveWeights",
    "balanced_l1_loss",
    "blank_residue_loss",
    "critic_loss",
    "cross_entropy_loss",
    "discriminator_adversarial_loss",
    "gaussian_kl_loss",
    "generator_adversarial_loss",
    "gradient_penalty",
    "kl_loss",
    "l1_loss",
    "latent_regression_loss",
    "least_squares_loss",
    "mode_seeking_loss",
    "normal_ssim_loss",
    "r1_penalty",
    "residue_evidence_loss",
    "total_variation_loss",
    "uncertainty_loss",
    "wasserstein_generator_loss",
    "weighted_l1_loss",
]
