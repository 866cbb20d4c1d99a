"""Reports that we write: what is in them, and that reading them gives back what went in."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom", reason="DICOM output needs the label extra")

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import Algorithm, encode_dicom
from monai_dgm.labelling.dicom_objects.structured_report import RECTANGLE, format_comment, write_opacity_report
from monai_dgm.labelling.dicom_objects.structured_report_reader import parse_comment, read_opacity_report

from .study import PATIENT_ID, boxes_of, radiograph_header

ALGORITHM = Algorithm("opacity_detection", "0.3.1")
BOXES, SCORES = [[10, 20, 300.5, 150.25], [0, 0, 1600, 2000]], [0.874, float("nan")]


def stored(report: pydicom.Dataset) -> pydicom.Dataset:
    """As it comes back from a PACS."""
    return pydicom.dcmread(io.BytesIO(encode_dicom(report)))


def groups(report: pydicom.Dataset) -> list[pydicom.Dataset]:
    return list(report.ContentSequence[-1].ContentSequence)


def test_what_goes_in_comes_out() -> None:
    source = radiograph_header()
    read = read_opacity_report(stored(write_opacity_report(source, BOXES, SCORES, algorithm=ALGORITHM)), [source])
    assert np.array_equal(boxes_of(read.opacities), np.float32(BOXES))
    assert [(found.text, found.score) for found in read.opacities] == [("opacity 0.87", 0.87), ("opacity", None)]
    assert {found.sop_instance_uid for found in read.opacities} == {source.SOPInstanceUID}
    assert len({found.tracking_uid for found in read.opacities}) == 2
    assert read.study_uid == source.StudyInstanceUID and read.images == (source.SOPInstanceUID,)
    assert read.by_us and read.is_prediction and read.reader is None and read.problems == ()
    assert read.software == "monai-dgm opacity_detection 0.3.1" and read.written is not None
    assert read.on_image(source.SOPInstanceUID) == read.opacities and read.on_image("1.2") == ()


@pytest.mark.parametrize("name", ["jane", "Doe^Jane", "山田^太郎"])
def test_a_reader_answers_for_the_boxes(name: str) -> None:
    report = write_opacity_report(radiograph_header(), BOXES, algorithm=ALGORITHM, reader=name)
    read = read_opacity_report(stored(report))
    assert read.reader == name and not read.is_prediction and not read.confirmed_negative
    texts = [item.TextValue for group in groups(report) for item in group.ContentSequence if "TextValue" in item]
    assert ALGORITHM.name not in texts  # the boxes are the reader's, not the model's


@pytest.mark.parametrize("reader", [None, "Doe^Jane"])
def test_no_opacity_is_said_in_as_many_words(reader: str | None) -> None:
    report = stored(write_opacity_report(radiograph_header(), [], [], algorithm=ALGORITHM, reader=reader))
    assert len(groups(report)) == 1
    assert report.ConceptNameCodeSequence[0].CodeValue != "126000"  # OHIF then shows it as text, and fails otherwise
    read = read_opacity_report(report)
    assert read.no_opacity and read.opacities == () and read.problems == ()
    assert read.confirmed_negative is (reader is not None)


def test_what_makes_ohif_take_a_box_for_an_editable_rectangle() -> None:
    source = radiograph_header()
    report = stored(write_opacity_report(source, BOXES[:1], [0.5], algorithm=ALGORITHM))
    assert report.SOPClassUID == pydicom.uid.ComprehensiveSRStorage
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    titles = [item.ConceptNameCodeSequence[0].CodeValue for item in report.ContentSequence]
    assert {"111028", "126010"} <= set(titles)  # image library, imaging measurements
    library = report.ContentSequence[titles.index("111028")]
    referenced = library.ContentSequence[0].ContentSequence[0].ReferencedSOPSequence[0]
    assert referenced.ReferencedSOPInstanceUID == source.SOPInstanceUID
    items = groups(report)[0].ContentSequence
    assert not [item for item in items if item.ValueType == "NUM"]  # OHIF drops a box whose NUM has no SCOORD
    by_concept = {item.ConceptNameCodeSequence[0].CodeValue: item for item in items}
    assert by_concept["112039"].TextValue == RECTANGLE and by_concept["121106"].TextValue == "opacity 0.50"
    region = by_concept["111030"]
    assert (region.ValueType, region.GraphicType) == ("SCOORD", "POLYLINE")
    xmin, ymin, xmax, ymax = BOXES[0]
    assert list(region.GraphicData) == [xmin, ymin, xmax, ymin, xmax, ymax, xmin, ymax, xmin, ymin]
    assert region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_tracking_and_series_can_go_on() -> None:
    uids = ["2.25.1", "2.25.2"]
    report = write_opacity_report(
        radiograph_header(), BOXES, algorithm=ALGORITHM, tracking_uids=uids, series_uid="2.25.9"
    )
    assert [found.tracking_uid for found in read_opacity_report(report).opacities] == uids
    assert report.SeriesInstanceUID == "2.25.9"
    other = write_opacity_report(radiograph_header(), BOXES, algorithm=ALGORITHM)
    assert other.SeriesInstanceUID != report.SeriesInstanceUID and other.SOPInstanceUID != report.SOPInstanceUID


@pytest.mark.parametrize(
    "tags",
    [
        {"PhotometricInterpretation": "MONOCHROME1", "PixelSpacing": [0.1, 0.2]},
        {"PatientOrientation": None, "PixelSpacing": None, "ImagerPixelSpacing": [0.143, 0.143]},
        {"PatientOrientation": "", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"},
        dict.fromkeys(["PatientID", "PatientName", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"]),
        dict.fromkeys(["PatientSex", "PatientBirthDate", "ReferringPhysicianName", "Modality", "BodyPartExamined"]),
        {"PatientSex": "unknown", "PatientName": "no caret"},
    ],
)
def test_radiographs_of_every_kind(tags: dict[str, object]) -> None:
    source = radiograph_header(**tags)
    report = stored(write_opacity_report(source, BOXES, SCORES, algorithm=ALGORITHM))
    assert np.array_equal(boxes_of(read_opacity_report(report, [source]).opacities), np.float32(BOXES))
    assert report.PatientID == (source.get("PatientID") or "") and report.SpecificCharacterSet == "ISO_IR 192"
    assert "PatientAddress" not in report and "PatientComments" not in report


def test_boxes_are_cut_off_at_the_border() -> None:
    report = write_opacity_report(radiograph_header(), [[-5, -1, 1600.4, 2001]], algorithm=ALGORITHM)
    assert read_opacity_report(report).opacities[0].box == (0, 0, 1600, 2000)


@pytest.mark.parametrize(
    ("boxes", "scores", "tags"),
    [
        ([[10, 20, 5, 40]], None, {}),
        ([[10, 20, float("nan"), 40]], None, {}),
        ([[1600, 0, 1700, 10]], None, {}),
        ([1, 2, 3, 4], None, {}),
        ([[1, 2, 3, 4]], [1.5], {}),
        ([[1, 2, 3, 4]], [0.5, 0.5], {}),
        ([[1, 2, 3, 4]], None, {"SOPClassUID": "1.2.3"}),
        ([[1, 2, 3, 4]], None, {"SOPInstanceUID": None}),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(
    boxes: list[list[float]], scores: list[float] | None, tags: dict[str, object]
) -> None:
    with pytest.raises(InputError) as caught:
        write_opacity_report(radiograph_header(**tags), boxes, scores, algorithm=ALGORITHM)
    assert "\n" not in str(caught.value) and PATIENT_ID not in str(caught.value)


def test_names_and_tracking_that_do_not_fit() -> None:
    for wrong in ({"reader": ""}, {"reader": "a\\b"}, {"label": ""}, {"tracking_uids": ["2.25.1"]}):
        with pytest.raises(InputError, match=next(iter(wrong)).split("_")[0]):
            write_opacity_report(radiograph_header(), BOXES, algorithm=ALGORITHM, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        write_opacity_report(radiograph_header(), BOXES, algorithm=ALGORITHM, tracking_uids=["2.25.1", "2.25.1"])


def test_words_beside_a_box_carry_its_score() -> None:
    for score in np.linspace(0, 1, 101):
        label, read = parse_comment(format_comment("lung opacity", score))
        assert label == "lung opacity" and read is not None and abs(read - score) <= 0.005 + 1e-9


def test_real_radiographs(real_data: Path) -> None:
    folder = real_data / "dicom"
    if not folder.is_dir():
        pytest.skip("no real DICOM files")
    with open(folder / "manifest.csv", encoding="utf-8") as lines:
        files = [row["file"] for row in csv.DictReader(lines)]
    for name in files:
        source = pydicom.dcmread(folder / name, force=True, stop_before_pixels=True)
        box = [1.5, 2.25, source.Columns - 0.5, source.Rows / 2]
        report = stored(write_opacity_report(source, [box], [0.25], algorithm=ALGORITHM))
        (found,) = read_opacity_report(report, [source]).opacities
        assert np.allclose(found.box, box) and report.StudyInstanceUID == source.StudyInstanceUID


def test_damaged_reports_are_read_or_refused_in_one_line() -> None:
    source, rng = radiograph_header(), np.random.default_rng(0)
    whole = encode_dicom(write_opacity_report(source, BOXES, SCORES, algorithm=ALGORITHM))
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(400, len(data), rng.integers(1, 20)):
            data[place] = rng.integers(256)
        try:
            report = pydicom.dcmread(io.BytesIO(bytes(data)))
        except Exception:  # not even DICOM any more: whoever reads files has to deal with that
            continue
        try:
            read_opacity_report(report, [source])
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 0
