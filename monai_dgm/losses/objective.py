"""The objective of encoders, decoders and head (paper, eq. 6): every term by name, weighed and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_dgm.losses.adversarial import generator_adversarial_loss
from monai_dgm.losses.boxes import (
    blank_outside_loss,
    box_evidence_loss,
    coupling_loss,
    image_evidence_loss,
    lesion_mask_loss,
)
from monai_dgm.losses.latent import kl_loss, latent_regression_loss
from monai_dgm.losses.reconstruction import (
    balanced_l1_loss,
    blank_residue_loss,
    l1_loss,
    normal_ssim_loss,
    residue_evidence_loss,
    total_variation_loss,
    weighted_l1_loss,
)

__all__ = ["DGMObjective", "ObjectiveWeights"]


OPACITY_FLOOR = 0.03  # a true residue below this, on the [-1, 1] scale, is not seen by a reader


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weight of each term; the defaults are the paper's, and terms the paper does not have are 0.

    Attributes:
        adversarial: lambda_A of eq. 6, on l_A (eq. 1).
        reconstruction: lambda_R of eq. 6, on l_R^1 + l_R^2 + l_R^3 (eq. 2 to 4).
        total_variation: lambda_TV of eq. 6, on l_TV (eq. 5).
        abnormality: on the head's binary cross entropy (section 4; its weight is not printed).
        clean_normal: on mean |residue of y'|, through frozen copies of E_F and D_F: y' holds no disease.
        healthy_normal: on the frozen head's cross entropy for y' being normal.
        paired_normal, paired_residue: on L1 to the known truth, for superimposed opacities, half inside them.
        normal_ssim: on 1 - SSIM of y' to the normal image, of normal images and superimposed opacities.
        evidence: on :func:`monai_dgm.losses.reconstruction.residue_evidence_loss`.
        kl, latent_regression: the losses the authors tried and left out (section 6).
        coupling: on :func:`monai_dgm.losses.boxes.coupling_loss`.
        box_outside, box_inside: on mean |a| outside, and the evidence inside, of boxes (:mod:`monai_dgm.losses.boxes`).
        lesion_mask: on the cross entropy of the mask with boxes, for a masked composition.
        image_evidence: on :func:`monai_dgm.losses.boxes.image_evidence_loss`, for abnormal images without known boxes.
        proposal: on L1 of D_G's proposal to the normal image where that is known, for a masked composition.
        category: on the cross entropy of the head for categories.
    """

    adversarial: float = 10.0
    reconstruction: float = 10.0
    total_variation: float = 1.0
    abnormality: float = 1.0
    clean_normal: float = 0.0
    healthy_normal: float = 0.0
    paired_normal: float = 0.0
    paired_residue: float = 0.0
    normal_ssim: float = 0.0
    evidence: float = 0.0
    kl: float = 0.0
    latent_regression: float = 0.0
    coupling: float = 0.0
    box_outside: float = 0.0
    box_inside: float = 0.0
    lesion_mask: float = 0.0
    image_evidence: float = 0.0
    proposal: float = 0.0
    category: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise ValueError(f"{field.name}: expected a weight >= 0, got {value!r}")


class DGMObjective:
    """Weighs the terms of eq. 6 and its extensions.

    Args:
        weights: :class:`ObjectiveWeights`, or a mapping of its fields (as a bundle's configuration has it).
        evidence_margin, evidence_fraction: of the evidence term.
        superimposed_teach_head: whether images with superimposed opacities count as abnormal for the head.
        intensity_scale: residue, on the [-1, 1] scale, at which a pixel is marked with probability 0.63 (terms of boxes
            and of image-level evidence).
        evidence_cells: of :func:`monai_dgm.losses.boxes.image_evidence_loss`.
    """

    def __init__(
        self,
        weights: ObjectiveWeights | dict[str, float] | None = None,
        evidence_margin: float = 0.2,
        evidence_fraction: float = 0.05,
        superimposed_teach_head: bool = False,
        intensity_scale: float = 0.1,
        evidence_cells: float = 25.0,
    ) -> None:
        self.superimposed_teach_head = superimposed_teach_head
        self.weights = weights if isinstance(weights, ObjectiveWeights) else ObjectiveWeights(**(weights or {}))
        self.evidence_margin = evidence_margin
        self.evidence_fraction = evidence_fraction
        self.intensity_scale = intensity_scale
        self.evidence_cells = evidence_cells

    @property
    def needs_second_pass(self) -> bool:
        """Whether y' must be encoded again, through frozen copies."""
        return self.weights.clean_normal > 0 or self.weights.healthy_normal > 0

    def __call__(
        self,
        outputs: dict[str, Tensor],
        batch: dict[str, Tensor],
        fake_scores: Sequence[Tensor],
        second_pass: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """All terms, unweighted, by name, and their weighted sum as ``total``.

        Args:
            outputs: of :class:`monai_dgm.networks.dgm.DGM`, for the images of ``batch``.
            batch: ``image`` (B, 1, S, S), ``label`` (B,), and, where opacities were superimposed, ``superimposed``
                (B,) bool with ``true_normal`` (B, 1, S, S). The terms of boxes need ``box_weight`` (B, 1, S, S) and
                ``complete`` (B,) bool (:mod:`monai_dgm.losses.boxes`), that of categories ``category`` (B,), -1 where
                unknown.
            fake_scores: D(y') for each scale.
            second_pass: ``residue`` (B, 1, S, S) and ``abnormality_logit`` (B, 1) of y' through frozen copies, and
                ``normal_code``, ``residue_code`` of z'' for latent regression, where those terms have a weight.
        """
        image = batch["image"]
        terms = {
            "adversarial": generator_adversarial_loss(fake_scores),
            "reconstruction": l1_loss(outputs["reconstruction"], image),
            "total_variation": total_variation_loss(outputs["normal"]),
            **self.residue_terms(outputs, batch),
        }
        if "joint_reconstruction" in outputs:
            terms["joint_reconstruction"] = l1_loss(outputs["joint_reconstruction"], image)
        known = (batch["label"] == 0) | batch.get("superimposed", torch.zeros_like(batch["label"], dtype=torch.bool))
        if self.weights.coupling > 0:
            terms["coupling"] = coupling_loss(outputs["residue"], image, outputs["normal"])
        if self.weights.proposal > 0:
            terms["proposal"] = weighted_l1_loss(outputs["proposal"], batch.get("true_normal", image), known)
        if self.weights.normal_ssim > 0:
            terms["normal_ssim"] = normal_ssim_loss(outputs["normal"], batch.get("true_normal", image), known)
        if "superimposed" in batch:
            terms["paired_normal"] = self._paired(outputs["normal"], batch["true_normal"], batch)
        terms.update(self._second_pass_terms(second_pass or {}))
        terms.update(self._code_terms(outputs, second_pass or {}))
        terms["total"] = self.total(terms)
        return terms

    def residue_terms(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of E_F, D_F and the head alone, unweighted: they need no normal image.

        Args:
            outputs: ``residue`` (B, 1, S, S) and ``abnormality_logit`` (B, 1).
            batch: as for a call.
        """
        residue, label = outputs["residue"], batch["label"]
        terms = {
            "blank_residue": blank_residue_loss(residue, label),
            "abnormality": self._abnormality(outputs["abnormality_logit"], batch),
        }
        if self.weights.evidence > 0:
            terms["evidence"] = residue_evidence_loss(residue, label, self.evidence_margin, self.evidence_fraction)
        if "superimposed" in batch:
            terms["paired_residue"] = self._paired(residue, batch["image"] - batch["true_normal"], batch)
        terms.update(self._box_terms(outputs, batch))
        if self.weights.category > 0:
            logits, category = outputs["category_logits"].float(), batch["category"]
            terms["category"] = F.cross_entropy(logits, category, ignore_index=-1, reduction="sum") / len(category)
        return terms

    def _box_terms(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms of :mod:`monai_dgm.losses.boxes` that have a weight."""
        weights, residue, abnormal = self.weights, outputs["residue"], batch["label"] == 1
        terms = {}
        if weights.box_outside > 0:
            terms["box_outside"] = blank_outside_loss(residue, batch["box_weight"], batch["complete"] & abnormal)
        if weights.box_inside > 0:
            known = batch["complete"] & abnormal
            terms["box_inside"] = box_evidence_loss(residue, batch["box_weight"], known, self.intensity_scale)
        if weights.lesion_mask > 0:
            known = batch["complete"] | ~abnormal
            terms["lesion_mask"] = lesion_mask_loss(outputs["mask_logit"], batch["box_weight"], known)
        if weights.image_evidence > 0:
            owing = abnormal & ~batch.get("complete", torch.zeros_like(abnormal))
            terms["image_evidence"] = image_evidence_loss(residue, owing, self.intensity_scale, self.evidence_cells)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of terms by name."""
        return torch.stack([self._weight(name) * term for name, term in terms.items()]).sum()

    def _weight(self, term: str) -> float:
        if term in ("reconstruction", "joint_reconstruction", "blank_residue"):
            return self.weights.reconstruction
        return float(getattr(self.weights, term))

    def _abnormality(self, logit: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Cross entropy of the head, over images whose label is real unless superimposed opacities teach it, too."""
        each = F.binary_cross_entropy_with_logits(logit.float().squeeze(1), batch["label"].float(), reduction="none")
        if "superimposed" not in batch or self.superimposed_teach_head:
            return each.mean()
        return (each * ~batch["superimposed"]).mean()

    @staticmethod
    def _paired(prediction: Tensor, truth: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """L1 to the known truth of the images with superimposed opacities, half of it inside them."""
        area = (batch["image"] - batch["true_normal"]).abs() > OPACITY_FLOOR
        return balanced_l1_loss(prediction, truth, area, batch["superimposed"])

    def _second_pass_terms(self, second_pass: dict[str, Tensor]) -> dict[str, Tensor]:
        if "residue" not in second_pass:
            return {}
        logit = second_pass["abnormality_logit"].float()
        return {
            "clean_normal": second_pass["residue"].float().abs().mean(),
            "healthy_normal": F.binary_cross_entropy_with_logits(logit, torch.zeros_like(logit)),
        }

    def _code_terms(self, outputs: dict[str, Tensor], second_pass: dict[str, Tensor]) -> dict[str, Tensor]:
        terms = {}
        if self.weights.kl > 0:
            terms["kl"] = kl_loss(outputs["residue_code"])
        if self.weights.latent_regression > 0:
            terms["latent_regression"] = latent_regression_loss(
                second_pass["normal_code"], outputs["normal_code"]
            ) + latent_regression_loss(second_pass["residue_code"], outputs["residue_code"])
        return terms
