"""Inference on files and folders: what is found, what fails, what is told of it."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from torch import Tensor, nn

from monai_dgm.dicom.radiograph import Radiograph
from monai_dgm.engines.decomposition.decompose import Decompose
from monai_dgm.engines.decomposition.inference import SCORES_FILE, decompose_files
from monai_dgm.engines.decomposition.outputs import OUTPUT_FILES
from monai_dgm.engines.file_run import question_radiograph
from monai_dgm.errors import InputError
from monai_dgm.networks.decomposer import Decomposer

SIZE = 32


@pytest.fixture
def network() -> Decomposer:
    torch.manual_seed(0)
    return Decomposer(2, 1)


class BrightCorner(nn.Module):
    """Answers with the image as normal and, as residue, what is bright in the image: it follows the picture."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat((image, torch.relu(image) * 0.9, torch.full_like(image, 0.25)), dim=1)


def picture(rows: int = 64, cols: int = 48, spot: tuple[int, int] = (12, 36)) -> np.ndarray:
    """Dark noise with one bright disc of radius 6 at (row, col)."""
    y, x = np.mgrid[:rows, :cols] + 0.5
    disc = (y - spot[0]) ** 2 + (x - spot[1]) ** 2 < 36
    return np.where(disc, 220, np.random.default_rng(0).integers(0, 30, (rows, cols))).astype(np.uint8)


def write_png(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture() if pixels is None else pixels).save(path)
    return path


def write_nifti(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(pixels.T.astype(np.float32), np.diag([-0.3, -0.4, 1, 1])).to_filename(path)
    return path


def write_dicom(path: Path, pixels: np.ndarray, **values: object) -> Path:
    """A synthetic CR image, MONOCHROME1: the lowest stored value is bright."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID = "Secret^Name", "SECRET-ID"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelSpacing = [0.4, 0.3]
    dataset.PixelData = (4095 - 16 * pixels.astype(np.uint16)).tobytes()
    for name, value in values.items():
        setattr(dataset, name, value)
    if pydicom.__version__.startswith("2"):
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        dataset.save_as(path)
    else:
        dataset.save_as(path, enforce_file_format=True)
    return path


def read_scores(folder: Path) -> dict:
    return json.loads((folder / SCORES_FILE).read_text(encoding="utf-8"))


@pytest.mark.parametrize("shape", [(64, 48), (48, 64)])
def test_every_format_lands_on_the_same_pixels(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = picture(*shape)
    write_png(tmp_path / "in/a.png", pixels)
    write_nifti(tmp_path / "in/b.nii.gz", pixels)
    write_dicom(tmp_path / "in/c.dcm", pixels)
    report = decompose_files(tmp_path / "in", Decompose(BrightCorner(), SIZE), tmp_path / "out")
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
    decompose_files(tmp_path / "one.nii", Decompose(BrightCorner(), SIZE), tmp_path / "out")
    image = nibabel.load(tmp_path / "out/one/residue.nii.gz")
    hot = np.argwhere(np.asarray(image.dataobj) > 0.6).mean(axis=0)
    bright = np.argwhere(pixels.T > 200).mean(axis=0)
    np.testing.assert_allclose(image.affine @ [*hot, 0, 1], affine @ [*bright, 0, 1], atol=0.5)


def test_bad_files_are_listed_and_the_others_go_on(
    tmp_path: Path, network: Decomposer, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    for name in ("good1.png", "sub/good2.png"):
        write_png(folder / name)
    bad = {
        "truncated.png": "expected a whole PNG image",
        "colour.png": "expected a greyscale image",
        "volume.nii": "expected one slice",
        "nan.nii.gz": "expected finite pixel values",
        "empty.png": "empty file",
        "text.dcm": "expected",
        "flat.png": "no contrast",
        "sub/no_pixels.dcm": "no Pixel Data",
    }
    whole = write_png(folder / "truncated.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    write_png(folder / "colour.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    nibabel.Nifti1Image(np.zeros((32, 32, 3), np.float32), np.eye(4)).to_filename(folder / "volume.nii")
    write_nifti(folder / "nan.nii.gz", np.where(picture() > 200, np.nan, picture()))
    (folder / "empty.png").touch()
    (folder / "text.dcm").write_text("this is no radiograph" * 50)
    write_png(folder / "flat.png", np.full((64, 64), 7, dtype=np.uint8))
    dataset = pydicom.dcmread(write_dicom(folder / "sub/no_pixels.dcm", picture()))
    del dataset.PixelData
    dataset.save_as(folder / "sub/no_pixels.dcm")
    with caplog.at_level(logging.INFO):
        report = decompose_files(folder, Decompose(network, SIZE), tmp_path / "out", batch_size=3, panels=False)
    assert [entry["file"] for entry in report["images"]] == ["good1.png", "sub/good2.png"]
    assert {entry["file"] for entry in report["failed"]} == set(bad)
    for entry in report["failed"]:
        assert bad[entry["file"]] in entry["reason"] and "\n" not in entry["reason"], entry
        assert not (tmp_path / "out" / entry["image_id"]).exists()
    told = (tmp_path / "out" / SCORES_FILE).read_text() + caplog.text
    assert "Secret" not in told and "SECRET" not in told
    assert str(tmp_path) not in (tmp_path / "out" / SCORES_FILE).read_text()


def test_when_all_fail_it_says_so(tmp_path: Path, network: Decomposer) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").touch()
    with pytest.raises(InputError, match=r"^a\.png: empty file[^\n]*$"):
        decompose_files(tmp_path / "in", Decompose(network, SIZE), tmp_path / "out")
    (tmp_path / "in/b.png").touch()
    with pytest.raises(InputError, match=r"^none of 2 files could be decomposed; the first: a\.png: [^\n]*$"):
        decompose_files(tmp_path / "in", Decompose(network, SIZE), tmp_path / "out")
    assert len(read_scores(tmp_path / "out")["failed"]) == 2


def test_a_network_that_yields_nan_fails_the_image_alone(tmp_path: Path) -> None:
    class NanOnce(BrightCorner):
        def forward(self, image: Tensor) -> Tensor:
            prediction = super().forward(image)
            prediction[0] = torch.nan
            return prediction

    for name in ("a.png", "b.png"):
        write_png(tmp_path / "in" / name)
    report = decompose_files(tmp_path / "in", Decompose(NanOnce(), SIZE), tmp_path / "out", panels=False)
    assert [entry["image_id"] for entry in report["images"]] == ["b"]
    assert "finite values from the network" in report["failed"][0]["reason"]


def test_equal_names_in_different_folders_keep_apart(tmp_path: Path) -> None:
    write_png(tmp_path / "in/p1/view.png", picture(64, 48))
    write_png(tmp_path / "in/p2/view.png", picture(48, 64))
    report = decompose_files(tmp_path / "in", Decompose(BrightCorner(), SIZE), tmp_path / "out", panels=False)
    assert [(entry["file"], entry["rows"]) for entry in report["images"]] == [("p1/view.png", 64), ("p2/view.png", 48)]
    for entry in report["images"]:
        assert Image.open(tmp_path / "out" / entry["image_id"] / "normal.png").height == entry["rows"]


def test_outputs_within_the_input_folder_are_not_inputs_of_the_next_run(tmp_path: Path) -> None:
    write_png(tmp_path / "in/a.png")
    write_png(tmp_path / "in/b.png")
    first = decompose_files(tmp_path / "in", Decompose(BrightCorner(), SIZE), tmp_path / "in/out")
    assert decompose_files(tmp_path / "in", Decompose(BrightCorner(), SIZE), tmp_path / "in/out") == first


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
    report = decompose_files(items, Decompose(BrightCorner(), SIZE), tmp_path / "out")
    plain, masked = report["images"]
    assert (plain["lung_box_source"], masked["lung_box_source"]) == ("whole_image", "lung_mask")
    assert len(plain["saliency_boxes"]) == 1 and masked["saliency_boxes"] == []  # the spot is above the lungs
    np.testing.assert_allclose(masked["lung_box"], [4, 20, 44, 60], atol=2)
    assert "lung mask: expected the radiograph's 64 x 48" in report["failed"][0]["reason"]


def test_worker_processes_and_batches_change_nothing(tmp_path: Path, network: Decomposer) -> None:
    for i in range(5):
        write_png(tmp_path / f"in/{i}.png", picture(40 + 8 * i, 60))
    reports = [
        decompose_files(tmp_path / "in", Decompose(network, SIZE), tmp_path / f"out{i}", panels=False, **settings)
        for i, settings in enumerate([{"batch_size": 1}, {"batch_size": 2, "num_workers": 1}])
    ]
    assert [entry["image_id"] for entry in reports[1]["images"]] == list("01234")
    for one, other in zip(*(report["images"] for report in reports), strict=True):
        for name in ("abnormality_probability", "mean_abs_residue"):
            assert one[name] == pytest.approx(other[name], abs=1e-5)


def test_the_model_and_the_settings_are_told(tmp_path: Path, network: Decomposer) -> None:
    write_png(tmp_path / "a.png")
    (tmp_path / "model.pt").write_bytes(b"weights")
    report = decompose_files(
        tmp_path / "a.png",
        Decompose(network, SIZE, percentiles=[1, 99], threshold=0.1),
        tmp_path / "out",
        model_file=tmp_path / "model.pt",
    )
    assert report["model"] == {"file": "model.pt", "sha256": hashlib.sha256(b"weights").hexdigest()}
    told = read_scores(tmp_path / "out")
    chosen = {"size": SIZE, "fit": "pad", "percentiles": [1, 99], "threshold": 0.1}
    assert told["settings"] == {**chosen, "score_threshold": None, "burden_threshold": 0.1}
    assert told["companions"] == {"lungs": None, "detector": None}
    assert told["images"][0]["saliency_threshold"] == 0.1
    assert "not for diagnosis" in told["disclaimer"] and told["version"].startswith("monai-dgm ")
    with pytest.raises(InputError, match=r"none\.pt: expected the file of the model"):
        decompose_files(tmp_path / "a.png", Decompose(network, SIZE), tmp_path / "out", model_file=tmp_path / "none.pt")


def test_an_earlier_run_stays_whole_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "in/a.png")
    decompose_files(tmp_path / "in", Decompose(BrightCorner(), SIZE), tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def full_disk(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(InputError, match=r"^\S*a: no space left, expected up to 20 MB[^\n]*$"):
        decompose_files(tmp_path / "in", Decompose(BrightCorner(), 64), tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_target_that_is_a_file(tmp_path: Path, network: Decomposer) -> None:
    write_png(tmp_path / "a.png")
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out: expected a folder that can be written"):
        decompose_files(tmp_path / "a.png", Decompose(network, SIZE), tmp_path / "out")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "scores.json"])
def test_image_ids_that_no_folder_can_have(tmp_path: Path, network: Decomposer, name: str) -> None:
    with pytest.raises(InputError, match="expected a name that a folder can have"):
        decompose_files([{"image": "a.png", "image_id": name}], Decompose(network, SIZE), tmp_path / "out")


def test_image_ids_that_come_twice(tmp_path: Path, network: Decomposer) -> None:
    twice = [{"image": "a.png", "image_id": "A"}, {"image": "b.png", "image_id": "a"}]
    with pytest.raises(InputError, match="'a': expected different ones"):
        decompose_files(twice, Decompose(network, SIZE), tmp_path / "out")


def test_nothing_to_decompose(tmp_path: Path, network: Decomposer) -> None:
    with pytest.raises(InputError, match="at least one radiograph"):
        decompose_files([], Decompose(network, SIZE), tmp_path / "out")
    with pytest.raises(InputError, match="no such file or folder"):
        decompose_files(tmp_path / "nowhere", Decompose(network, SIZE), tmp_path / "out")


@pytest.mark.parametrize(
    ("header", "remarks"),
    [
        ((None, None, None), 0),
        (("DX", "CHEST", "PA"), 0),
        (("CR", "PORTABLE CHEST", "AP"), 0),
        (("CT", "CHEST", None), 1),
        (("CR", "HIP", "LL"), 2),
    ],
)
def test_headers_that_speak_against_a_frontal_chest_radiograph(
    header: tuple[str | None, str | None, str | None], remarks: int
) -> None:
    radiograph = Radiograph(picture().astype(np.float32), None, "dicom", *header, bits=12)
    assert len(question_radiograph(radiograph)) == remarks


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_a_header_with_anything_in_it_stays_one_short_line(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "odd.dcm", picture(), BodyPartExamined="HIP\r\n" + "X" * 10)
    [entry] = decompose_files(path, Decompose(BrightCorner(), SIZE), tmp_path / "out")["images"]
    assert entry["remarks"] == ["body part HIP XXXXXXXXXX, expected a chest"]


def test_real_dicom_files(real_data: Path, tmp_path: Path, network: Decomposer) -> None:
    names = ["966", "966_fixed", "CR-MONO1-10-chest", "RG1_UNCR"]
    items = [{"image": str(real_data / f"dicom/chest/{name}.dcm"), "image_id": name} for name in names]
    report = decompose_files(items, Decompose(network, SIZE), tmp_path / "out", panels=False)
    assert [entry["file"] for entry in report["failed"]] == ["966.dcm"]
    entries = {entry["image_id"]: entry for entry in report["images"]}
    assert list(entries) == names[1:]
    for entry in entries.values():
        normal = Image.open(tmp_path / "out" / entry["image_id"] / "normal.png")
        assert (normal.height, normal.width) == (entry["rows"], entry["cols"]) and normal.mode == "I;16"
        assert entry["remarks"] == []
