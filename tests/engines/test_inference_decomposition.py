"""Inference on files and folders: what is found, and what is told of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_dgm.engines.decomposition.outputs import OUTPUT_FILES
from monai_dgm.errors import InputError
from monai_dgm.transforms.load_radiograph import LoadRadiographd
from tests.engines.file_runs import decompose_files
from tests.engines.written_radiographs import (
    SIZE,
    bright_finder,
    picture,
    read_scores,
    untrained,
    write_dicom,
    write_nifti,
    write_png,
)


@pytest.mark.parametrize("shape", [(64, 48), (48, 64)])
def test_every_format_lands_on_the_same_pixels(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = picture(*shape)
    write_png(tmp_path / "in/a.png", pixels)
    write_nifti(tmp_path / "in/b.nii.gz", pixels)
    write_dicom(tmp_path / "in/c.dcm", pixels)
    report = decompose_files(tmp_path / "in", bright_finder(), tmp_path / "out")
    assert report == read_scores(tmp_path / "out")
    assert [(entry["image_id"], entry["file"]) for entry in report["images"]] == [
        ("a", "a.png"),
        ("b", "b.nii.gz"),
        ("c", "c.dcm"),
    ]
    assert report["failed"] == []
    for entry in report["images"]:
        folder = tmp_path / "out" / entry["image_id"]
        assert sorted(path.name for path in folder.iterdir()) == sorted(OUTPUT_FILES)
        [found] = entry["saliency_boxes"]
        np.testing.assert_allclose(found["box"], [30, 6, 42, 18], atol=3)
        assert (entry["rows"], entry["cols"]) == shape
        normal = np.asarray(Image.open(folder / "normal.png"))
        assert normal.shape == shape and normal[12, 36] > normal[30, 10]  # bright = dense in every format
        residue = np.asarray(nibabel.load(folder / "residue.nii.gz").dataobj)
        assert residue.shape == shape[::-1] and residue[36, 12] > 0.5 > residue[10, 30]
    spacings = [entry["pixel_spacing_mm"] for entry in report["images"]]
    assert spacings[0] is None and spacings[2] == [0.4, 0.3] and spacings[1] == pytest.approx([0.4, 0.3])


def test_a_residue_lies_on_its_nifti_image(tmp_path: Path) -> None:
    affine = np.array([[0.5, 0, 0, 10], [0, 0.25, 0, -20], [0, 0, 1, 5], [0, 0, 0, 1]])  # codes R and A: both turn
    pixels = picture()
    nibabel.Nifti1Image(pixels.T.astype(np.float32), affine).to_filename(tmp_path / "one.nii")
    decompose_files(tmp_path / "one.nii", bright_finder(), tmp_path / "out")
    image = nibabel.load(tmp_path / "out/one/residue.nii.gz")
    hot = np.argwhere(np.asarray(image.dataobj) > 0.6).mean(axis=0)
    bright = np.argwhere(pixels.T > 200).mean(axis=0)
    np.testing.assert_allclose(image.affine @ [*hot, 0, 1], affine @ [*bright, 0, 1], atol=0.5)


def test_equal_names_in_different_folders_keep_apart(tmp_path: Path) -> None:
    write_png(tmp_path / "in/p1/view.png", picture(64, 48))
    write_png(tmp_path / "in/p2/view.png", picture(48, 64))
    report = decompose_files(tmp_path / "in", bright_finder(), tmp_path / "out", panels=False)
    assert [(entry["file"], entry["rows"]) for entry in report["images"]] == [("p1/view.png", 64), ("p2/view.png", 48)]
    for entry in report["images"]:
        assert Image.open(tmp_path / "out" / entry["image_id"] / "normal.png").height == entry["rows"]


def test_outputs_within_the_input_folder_are_not_inputs_of_the_next_run(tmp_path: Path) -> None:
    write_png(tmp_path / "in/a.png")
    write_png(tmp_path / "in/b.png")
    first = decompose_files(tmp_path / "in", bright_finder(), tmp_path / "in/out")
    assert decompose_files(tmp_path / "in", bright_finder(), tmp_path / "in/out") == first


def test_a_datalist_with_lung_masks_and_true_boxes(tmp_path: Path) -> None:
    image = write_png(tmp_path / "image.png")
    mask = np.zeros((64, 48), dtype=np.uint8)
    mask[20:60, 4:44] = 255
    lungs = write_png(tmp_path / "lungs.png", mask)
    wrong = write_png(tmp_path / "wrong.png", mask[:30])
    items = [
        {"image": str(image), "image_id": "plain"},
        {"image": str(image), "image_id": "masked", "lung_mask": str(lungs), "opacity_boxes": [[1, 2, 30, 40]]},
        {"image": str(image), "image_id": "wrong", "lung_mask": str(wrong)},
    ]
    report = decompose_files(items, bright_finder(), tmp_path / "out")
    plain, masked = report["images"]
    assert (plain["lung_box_source"], masked["lung_box_source"]) == ("whole_image", "lung_mask")
    assert len(plain["saliency_boxes"]) == 1 and masked["saliency_boxes"] == []  # the spot is above the lungs
    np.testing.assert_allclose(masked["lung_box"], [4, 20, 44, 60], atol=2)
    assert "lung mask: expected the radiograph's 64 x 48" in report["failed"][0]["reason"]


def test_worker_processes_and_batches_change_nothing(tmp_path: Path) -> None:
    for i in range(5):
        write_png(tmp_path / f"in/{i}.png", picture(40 + 8 * i, 60))
    reports = [
        decompose_files(tmp_path / "in", untrained(), tmp_path / f"out{i}", panels=False, **settings)
        for i, settings in enumerate([{"batch_size": 1}, {"batch_size": 2, "num_workers": 1}])
    ]
    assert [entry["image_id"] for entry in reports[1]["images"]] == list("01234")
    for one, other in zip(*(report["images"] for report in reports), strict=True):
        for name in ("abnormality_probability", "mean_abs_residue"):
            assert one[name] == pytest.approx(other[name], abs=1e-5)


def test_the_model_and_the_settings_are_told(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png")
    (tmp_path / "model.pt").write_bytes(b"weights")
    pipeline = untrained(threshold=0.1)
    pipeline.model_files = {"decomposer": str(tmp_path / "model.pt")}
    preprocessing = LoadRadiographd("image", SIZE, percentiles=[1, 99])
    report = decompose_files(tmp_path / "a.png", pipeline, tmp_path / "out", preprocessing=preprocessing)
    assert report["model"] == {"file": "model.pt", "sha256": hashlib.sha256(b"weights").hexdigest()}
    told = read_scores(tmp_path / "out")
    chosen = {"size": SIZE, "fit": "pad", "percentiles": [1, 99], "threshold": 0.1}
    assert told["settings"] == {**chosen, "score_threshold": None, "burden_threshold": 0.1, "uncertainty_passes": None}
    assert told["auxiliary_models"] == {"lungs": None, "detector": None}
    assert told["images"][0]["saliency_threshold"] == 0.1
    assert "not for diagnosis" in told["disclaimer"] and told["version"].startswith("monai-dgm ")
    with pytest.raises(InputError, match=r"none\.pt: expected the file of the model"):
        pipeline.model_files = {"decomposer": str(tmp_path / "none.pt")}
        decompose_files(tmp_path / "a.png", pipeline, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_a_header_with_anything_in_it_stays_one_short_line(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "odd.dcm", picture(), BodyPartExamined="HIP\r\n" + "X" * 10)
    [entry] = decompose_files(path, bright_finder(), tmp_path / "out")["images"]
    assert entry["remarks"] == ["body part HIP XXXXXXXXXX, expected a chest"]


def test_real_dicom_files(real_data: Path, tmp_path: Path) -> None:
    names = ["966", "966_fixed", "CR-MONO1-10-chest", "RG1_UNCR"]
    items = [{"image": str(real_data / f"dicom/chest/{name}.dcm"), "image_id": name} for name in names]
    report = decompose_files(items, untrained(), tmp_path / "out", panels=False)
    assert [entry["file"] for entry in report["failed"]] == ["966.dcm"]
    entries = {entry["image_id"]: entry for entry in report["images"]}
    assert list(entries) == names[1:]
    for entry in entries.values():
        normal = Image.open(tmp_path / "out" / entry["image_id"] / "normal.png")
        assert (normal.height, normal.width) == (entry["rows"], entry["cols"]) and normal.mode == "I;16"
        assert entry["remarks"] == []
