"""The objective: eq. 6 with its weights, and what each extension may and may not touch."""

from __future__ import annotations

from dataclasses import asdict, fields

import numpy as np
import pytest
import torch
from torch import Tensor

from monai_dgm.losses.objective import DGMObjective, ObjectiveWeights

BATCH, SIDE = 4, 8
EXTRAS = [
    "normal_ssim",
    "clean_normal",
    "healthy_normal",
    "paired_normal",
    "paired_residue",
    "evidence",
    "kl",
    "latent_regression",
    "coupling",
    "box_outside",
    "box_inside",
    "lesion_mask",
    "image_evidence",
    "proposal",
    "category",
]


def outputs() -> dict[str, Tensor]:
    names = ("normal", "residue", "joint_reconstruction", "proposal", "mask_logit")
    maps = {name: torch.rand(BATCH, 1, SIDE, SIDE) * 2 - 1 for name in names}
    codes = {name: torch.randn(BATCH, 6, 2, 2) for name in ("normal_code", "residue_code")}
    values = {**maps, **codes, "abnormality_logit": torch.randn(BATCH, 1)}
    values["category_logits"] = torch.randn(BATCH, 3)
    values = {name: value.requires_grad_() for name, value in values.items()}
    return {**values, "reconstruction": values["normal"] + values["residue"]}


def batch(labels: tuple[int, ...] = (0, 1, 0, 1)) -> dict[str, Tensor]:
    return {"image": torch.rand(BATCH, 1, SIDE, SIDE) * 2 - 1, "label": torch.tensor(labels, dtype=torch.float32)}


def superimposed_batch() -> dict[str, Tensor]:
    """Image 1 was normal and carries a simulated opacity now, in its upper rows; image 3 is truly abnormal."""
    plain = batch()
    known = torch.tensor([False, True, False, False])
    opacity = torch.zeros(BATCH, 1, SIDE, SIDE)
    opacity[1, :, :2] = 0.4
    opacity[1, :, 2] = 0.01  # its edge, too faint to count as inside
    boxes = {"box_weight": (opacity > 0.03).float(), "complete": known, "category": torch.tensor([0, -1, 0, 2])}
    return {**plain, **boxes, "superimposed": known, "true_normal": plain["image"] - opacity}


def second_pass() -> dict[str, Tensor]:
    return {
        "residue": torch.rand(BATCH, 1, SIDE, SIDE, requires_grad=True),
        "abnormality_logit": torch.randn(BATCH, 1, requires_grad=True),
        "normal_code": torch.randn(BATCH, 6, 2, 2, requires_grad=True),
        "residue_code": torch.randn(BATCH, 6, 2, 2, requires_grad=True),
    }


def fake_scores() -> list[Tensor]:
    return [torch.randn(BATCH, 1, 4, 4), torch.randn(BATCH, 1, 2, 2)]


def numpy(value: Tensor) -> np.ndarray:
    return value.detach().double().numpy()


def test_default_is_the_papers_objective() -> None:
    """Transcription of eq. 1 to 6 and of the head's binary cross entropy."""
    o, b, scores = outputs(), batch(), fake_scores()
    terms = DGMObjective()(o, b, scores)
    z, a, y = numpy(b["image"]), numpy(o["residue"]), numpy(o["normal"])
    l_a = sum(0.5 * np.mean((numpy(d) - 1) ** 2) for d in scores)
    l_r1 = np.mean(np.abs(y + a - z))
    l_r2 = np.mean(np.abs(numpy(o["joint_reconstruction"]) - z))
    l_r3 = np.mean([np.mean(np.abs(a[i])) if i in (0, 2) else 0 for i in range(BATCH)])
    l_tv = np.mean(np.abs(y[:, :, 1:] - y[:, :, :-1])) + np.mean(np.abs(y[..., 1:] - y[..., :-1]))
    p, label = 1 / (1 + np.exp(-numpy(o["abnormality_logit"])[:, 0])), numpy(b["label"])
    cross_entropy = -np.mean(label * np.log(p) + (1 - label) * np.log(1 - p))
    expected = {
        "adversarial": l_a,
        "reconstruction": l_r1,
        "joint_reconstruction": l_r2,
        "blank_residue": l_r3,
        "total_variation": l_tv,
        "abnormality": cross_entropy,
        "total": 10 * l_a + 10 * (l_r1 + l_r2 + l_r3) + 1 * l_tv + cross_entropy,
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name


def test_extras_are_off_by_default() -> None:
    weights = asdict(ObjectiveWeights())
    assert {name for name, value in weights.items() if value == 0} == set(EXTRAS)
    assert not DGMObjective().needs_second_pass
    assert DGMObjective({"clean_normal": 1.0}).needs_second_pass
    assert DGMObjective({"healthy_normal": 1.0}).needs_second_pass


def test_without_joint_decoder_its_term_is_absent() -> None:
    o = outputs()
    del o["joint_reconstruction"]
    assert "joint_reconstruction" not in DGMObjective()(o, batch(), fake_scores())


# Which weight multiplies which term: written out, since eq. 6 has one weight for three terms.
WEIGHT_OF = {
    **{name: name for name in ["adversarial", "total_variation", "abnormality", *EXTRAS]},
    "reconstruction": "reconstruction",
    "joint_reconstruction": "reconstruction",
    "blank_residue": "reconstruction",
}


def test_total_is_the_weighted_sum() -> None:
    weights = {field.name: 0.5 + i for i, field in enumerate(fields(ObjectiveWeights))}
    terms = DGMObjective(weights)(outputs(), superimposed_batch(), fake_scores(), second_pass())
    assert set(terms) == {*WEIGHT_OF, "total"}
    expected = sum(weights[WEIGHT_OF[name]] * value.item() for name, value in terms.items() if name != "total")
    assert terms["total"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", [field.name for field in fields(ObjectiveWeights)])
def test_a_weight_of_zero_takes_its_term_out_of_the_total(name: str) -> None:
    o, b, scores, second = outputs(), superimposed_batch(), fake_scores(), second_pass()
    ones = {field.name: 1.0 for field in fields(ObjectiveWeights)}
    terms = DGMObjective(ones)(o, b, scores, second)
    without = DGMObjective({**ones, name: 0.0})(o, b, scores, second)
    lost = sum(value.item() for term, value in terms.items() if term != "total" and WEIGHT_OF[term] == name)
    assert terms["total"].item() - without["total"].item() == pytest.approx(lost, rel=1e-4, abs=1e-5)


def test_superimposed_images_do_not_teach_the_head() -> None:
    o, b = outputs(), superimposed_batch()
    DGMObjective()(o, b, fake_scores())["abnormality"].backward()
    gradient = o["abnormality_logit"].grad
    assert gradient is not None
    assert [bool(g != 0) for g in gradient[:, 0]] == [True, False, True, True]


def test_superimposed_images_teach_the_head_where_they_are_asked_to() -> None:
    o, b = outputs(), superimposed_batch()
    term = DGMObjective(superimposed_teach_head=True)(o, b, fake_scores())["abnormality"]
    p, label = 1 / (1 + np.exp(-numpy(o["abnormality_logit"])[:, 0])), numpy(b["label"])
    assert term.item() == pytest.approx(-np.mean(label * np.log(p) + (1 - label) * np.log(1 - p)), rel=1e-5)


def test_paired_terms_see_the_known_truth_of_superimposed_images_alone_half_of_it_inside_the_opacity() -> None:
    o, b = outputs(), superimposed_batch()
    terms = DGMObjective({"paired_normal": 1.0, "paired_residue": 1.0})(o, b, fake_scores())
    truth = numpy(b["true_normal"])[1, 0]
    errors = {
        "paired_normal": np.abs(numpy(o["normal"])[1, 0] - truth),
        "paired_residue": np.abs(numpy(o["residue"])[1, 0] - (numpy(b["image"])[1, 0] - truth)),
    }
    for name, error in errors.items():
        assert terms[name].item() == pytest.approx((error[:2].mean() + error[2:].mean()) / 2 / BATCH, rel=1e-5)
    (terms["paired_normal"] + terms["paired_residue"]).backward()
    for name in ("normal", "residue"):
        gradient = o[name].grad
        assert gradient is not None
        assert [bool(g.abs().sum() > 0) for g in gradient] == [False, True, False, False]
    assert "paired_normal" not in DGMObjective()(outputs(), batch(), fake_scores())


def test_blank_residue_is_asked_of_normals_alone() -> None:
    o, b = outputs(), superimposed_batch()
    DGMObjective()(o, b, fake_scores())["blank_residue"].backward()
    gradient = o["residue"].grad
    assert gradient is not None
    assert [bool(g.abs().sum() > 0) for g in gradient] == [True, False, True, False]


def test_second_pass_terms() -> None:
    second = second_pass()
    terms = DGMObjective({"clean_normal": 1.0, "healthy_normal": 1.0})(outputs(), batch(), fake_scores(), second)
    assert terms["clean_normal"].item() == pytest.approx(np.mean(np.abs(numpy(second["residue"]))), rel=1e-5)
    called_normal = np.log1p(np.exp(numpy(second["abnormality_logit"])))  # cross entropy for the label 0
    assert terms["healthy_normal"].item() == pytest.approx(np.mean(called_normal), rel=1e-5)


def test_code_terms() -> None:
    o, second = outputs(), second_pass()
    terms = DGMObjective({"kl": 1.0, "latent_regression": 1.0})(o, batch(), fake_scores(), second)
    assert terms["kl"].item() == pytest.approx(np.mean(numpy(o["residue_code"]) ** 2) / 2, rel=1e-5)
    expected = sum(np.mean(np.abs(numpy(second[n]) - numpy(o[n]))) for n in ("normal_code", "residue_code"))
    assert terms["latent_regression"].item() == pytest.approx(expected, rel=1e-5)


def test_terms_of_boxes_see_the_images_that_have_them() -> None:
    """Image 1 has a box, image 3 is abnormal without one, images 0 and 2 are normal."""
    names = ("box_outside", "box_inside", "lesion_mask", "image_evidence", "proposal", "category")
    seen = {
        "box_outside": [1],
        "box_inside": [1],
        "lesion_mask": [0, 1, 2],
        "image_evidence": [3],
        "proposal": [0, 1, 2],
        "category": [0, 2, 3],
    }
    of = {"lesion_mask": "mask_logit", "proposal": "proposal", "category": "category_logits"}
    for name in names:
        o, b = outputs(), superimposed_batch()
        b["label"][1] = 1.0
        with torch.no_grad():
            o["residue"].mul_(0.01)  # else the evidence is beyond doubt
        DGMObjective({name: 1.0})(o, b, fake_scores())[name].backward()
        gradient = o[of.get(name, "residue")].grad
        assert gradient is not None
        assert [i for i in range(BATCH) if gradient[i].abs().sum() > 0] == seen[name], name


def test_category_is_cross_entropy_over_the_batch() -> None:
    o, b = outputs(), superimposed_batch()
    terms = DGMObjective({"category": 1.0})(o, b, fake_scores())
    logits = numpy(o["category_logits"])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert terms["category"].item() == pytest.approx(-(log_p[0, 0] + log_p[2, 0] + log_p[3, 2]) / BATCH, rel=1e-5)


def test_evidence_takes_its_margin_and_fraction() -> None:
    o, b = outputs(), batch()
    with torch.no_grad():
        o["residue"].zero_()
    terms = DGMObjective({"evidence": 1.0}, evidence_margin=0.3, evidence_fraction=0.1)(o, b, fake_scores())
    assert terms["evidence"].item() == pytest.approx(0.3 * 2 / BATCH)


def test_unknown_and_negative_weights_are_refused() -> None:
    with pytest.raises(TypeError, match="adversarail"):
        DGMObjective({"adversarail": 1.0})
    for value in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="kl: expected a weight >= 0"):
            ObjectiveWeights(kl=value)


def test_all_terms_are_single_precision_under_autocast() -> None:
    o = {name: value.detach().bfloat16() for name, value in outputs().items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = DGMObjective(dict.fromkeys(EXTRAS, 1.0))(
            o, superimposed_batch(), [s.bfloat16() for s in fake_scores()], second_pass()
        )
    assert {term.dtype for term in terms.values()} == {torch.float32}
