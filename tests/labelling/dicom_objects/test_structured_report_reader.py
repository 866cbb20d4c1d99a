"""Reports of other viewers: what counts as a region, what is left out and why, and who wrote it when."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pydicom
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.structured_report_reader import parse_comment, read_opacity_report

from .study import area, boxes_of, code, comment, corners, group, image, item, radiograph_header, region, report

BOX = (100.0, 200.0, 400.0, 450.0)


@pytest.fixture
def header() -> pydicom.Dataset:
    return radiograph_header()


@pytest.mark.parametrize("below_number", [False, True], ids=["group level", "below the first NUM, as OHIF writes"])
def test_a_rectangle_is_a_box_wherever_it_hangs(header: pydicom.Dataset, below_number: bool) -> None:
    shape = region(header, "POLYLINE", corners(*BOX))
    items = [area(shape), area()] if below_number else [shape]
    read = read_opacity_report(report(header, group(*items, comment("opacity 0.87"))))
    (found,) = read.opacities
    assert found.box == BOX and found.text == "opacity 0.87" and found.score == 0.87
    assert found.sop_instance_uid == header.SOPInstanceUID
    assert pydicom.uid.UID(found.tracking_uid).is_valid and read.problems == ()
    assert read.images == (header.SOPInstanceUID,) and read.study_uid == header.StudyInstanceUID


def test_other_shapes_count_with_the_box_around_them(header: pydicom.Dataset) -> None:
    turned = np.array([[-1, 1], [1, -1], [-0.5, -0.5], [0.5, 0.5]]) * 100 + 500  # major axis along (1, -1)
    shapes = [
        ("POLYLINE", [(10, 50), (40, 20), (70, 90), (10, 50)], (10, 20, 70, 90)),
        ("CIRCLE", [(100, 100), (130, 140)], (50, 50, 150, 150)),
        ("ELLIPSE", [(50, 100), (150, 100), (100, 80), (100, 120)], (50, 80, 150, 120)),
        ("ELLIPSE", turned, tuple(500 + np.array([-1, -1, 1, 1]) * 100 * np.sqrt(1.25))),
    ]
    groups = [group(region(header, kind, points)) for kind, points, _ in shapes]
    read = read_opacity_report(report(header, *groups))
    assert np.allclose(boxes_of(read.opacities), [box for *_, box in shapes], atol=1e-3)


def test_the_box_around_an_ellipse_is_the_one_around_its_points(header: pydicom.Dataset) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        centre, angle, (major, minor) = rng.uniform(300, 900, 2), rng.uniform(0, np.pi), np.sort(rng.uniform(5, 99, 2))
        axis = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-axis[1], axis[0]])
        ends = [centre - minor * axis, centre + minor * axis, centre - major * across, centre + major * across]
        turn = np.linspace(0, 2 * np.pi, 10_000)[:, None]
        outline = centre + minor * np.cos(turn) * axis + major * np.sin(turn) * across
        (found,) = read_opacity_report(report(header, group(region(header, "ELLIPSE", ends)))).opacities
        assert np.allclose(found.box, [*outline.min(axis=0), *outline.max(axis=0)], atol=0.01)


@pytest.mark.parametrize(
    ("items", "why"),
    [
        (lambda header: [area()], "no coordinates (SCOORD)"),
        (lambda header: [], "no coordinates (SCOORD)"),
        (lambda header: [item("SCOORD3D", None, GraphicType="POLYGON", GraphicData=[0.0] * 12)], "SCOORD3D"),
        (lambda header: [region(header, "POINT", [1, 2])], "POINT"),
        (lambda header: [region(header, "POLYLINE", [1, 2, 30, 40])], "line"),
        (lambda header: [region(header, "POLYLINE", [1, 2, 30, 40, 1, 2])], "line"),
        (lambda header: [region(header, "POLYLINE", [5, 2, 5, 40, 5, 60])], "no area"),
        (lambda header: [region(header, "POLYLINE", [10, 10, 30, 12, 20, 40])], "not closed"),  # an angle
        (lambda header: [region(header, "POLYLINE", [10, 10, 60, 9, 12, 70, 62, 68])], "not closed"),  # a Cobb angle
        (lambda header: [region(header, "POLYLINE", [1, 2, 3])], "columns and rows"),
        (lambda header: [region(header, "POLYLINE", [])], "columns and rows"),
        (lambda header: [region(header, "POLYLINE", [1, 2, float("nan"), 4, 5, 6])], "columns and rows"),
        (lambda header: [region(header, "CIRCLE", [1, 2, 3, 4, 5, 6])], "CIRCLE of 3 points"),
        (lambda header: [region(header, "POLYLINE", corners(*BOX), frame=2)], "further frame"),
        (lambda header: [region(header, "POLYLINE", corners(*BOX), frame=[1, 2])], "further frame"),
    ],
)
def test_what_is_no_box_is_left_out_with_the_reason(header: pydicom.Dataset, items: object, why: str) -> None:
    good = group(region(header, "POLYLINE", corners(*BOX), frame=1))
    bad = group(*items(header), comment("secret words"))  # type: ignore[operator]
    read = read_opacity_report(report(header, good, bad))
    assert [found.box for found in read.opacities] == [BOX]
    (problem,) = read.problems
    assert problem.startswith("group 2: ") and why in problem and "secret" not in problem


def test_the_place_of_the_words_is_no_region(header: pydicom.Dataset) -> None:
    place = region(header, "POINT", [3, 4])
    place.ConceptNameCodeSequence = [code("TextPosition", "99CS3D")]
    read = read_opacity_report(report(header, group(area(), place)))
    assert read.problems == ("group 1: no coordinates (SCOORD)",)
    read = read_opacity_report(report(header, group(area(region(header, "POLYLINE", corners(*BOX))), place)))
    assert [found.box for found in read.opacities] == [BOX]


def test_a_region_without_an_image_belongs_to_the_only_one(header: pydicom.Dataset) -> None:
    document = report(header, group(region(None, "POLYLINE", corners(*BOX))))
    assert read_opacity_report(document).opacities[0].sop_instance_uid == header.SOPInstanceUID
    instances = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    instances.append(image(radiograph_header()).ReferencedSOPSequence[0])
    assert read_opacity_report(document).problems == ("group 1: no image given, and the report refers to 2",)


def test_words_are_the_comment_else_free_text_else_the_finding(header: pydicom.Dataset) -> None:
    shape = region(header, "POLYLINE", corners(*BOX))
    finding = item("CODE", code("121071"), ConceptCodeSequence=[code("112001", meaning="Opacity")])
    free = item("CODE", code("121071"), ConceptCodeSequence=[code("CORNERSTONEFREETEXT", "CORNERSTONEJS", "mine 0.5")])
    site = item("CODE", code("363698007", "SCT"), ConceptCodeSequence=[code("CORNERSTONEFREETEXT", "x", "site")])
    cases = [([finding, comment("words")], "words"), ([finding, free], "mine 0.5"), ([finding, site], "site")]
    for items, expected in [*cases, ([finding], "Opacity"), ([], "")]:
        (found,) = read_opacity_report(report(header, group(shape, *items))).opacities
        assert found.text == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("opacity 0.87", ("opacity", 0.87)),
        ("opacity 1.00", ("opacity", 1.0)),
        (" .5 ", ("", 0.5)),
        ("opacity", ("opacity", None)),
        ("opacity 1.7", ("opacity 1.7", None)),
        ("nodule 1", ("nodule 1", None)),
        ("level 10.5", ("level 10.5", None)),
        ("0.3 cm", ("0.3 cm", None)),
        ("", ("", None)),
    ],
)
def test_a_score_ends_the_words(text: str, expected: tuple[str, float | None]) -> None:
    assert parse_comment(text) == expected


def test_who_wrote_it_with_what_and_when(header: pydicom.Dataset) -> None:
    shape = region(header, "POLYLINE", corners(*BOX))
    read = read_opacity_report(report(header, group(shape), person="Doe^Jane"))
    assert read.reader == "Doe^Jane" and read.software == "Cornerstone3DTools@^0.1.0" and not read.by_us
    assert read.written == datetime(2026, 2, 3, 11, 12, 13, 250_000) and not read.is_prediction
    other = report(header, group(shape, tool="1"), person="unknown^unknown", Manufacturer="Acme", SoftwareVersions="7")
    read = read_opacity_report(other)
    assert read.reader is None and read.software == "Acme 7" and not read.is_prediction
    del other.ContentDate, other.Manufacturer, other.SoftwareVersions
    read = read_opacity_report(other)
    assert read.written is None and read.software == "unknown"


def test_boxes_are_cut_off_at_the_border_where_the_image_is_at_hand(header: pydicom.Dataset) -> None:
    beyond = group(region(header, "POLYLINE", corners(-30, 1900, 500, 2100)))
    outside = group(region(header, "POLYLINE", corners(1700, 0, 1800, 10)))
    document = report(header, beyond, outside)
    assert read_opacity_report(document).opacities[0].box == (-30, 1900, 500, 2100)
    read = read_opacity_report(document, [radiograph_header(), header])
    assert [found.box for found in read.opacities] == [(0, 1900, 500, 2000)]
    assert read.problems == ("group 2: no area within the image",)


def test_what_cornerstone_writes_on_oblong_pixels_is_put_right(header: pydicom.Dataset) -> None:
    header.PixelSpacing = [0.1, 0.2]
    drawn = np.array([[100.0, 200.0], [400.0, 200.0], [400.0, 450.0], [100.0, 450.0]])
    wrote = (drawn - 0.5) * [2.0, 0.5] + 0.5  # columns divided by the row spacing, and the other way round
    theirs = report(header, group(region(header, "POLYLINE", wrote)))
    read = read_opacity_report(theirs, [header])
    assert np.allclose(read.opacities[0].box, BOX) and "not square" in read.problems[0]
    others = report(header, group(region(header, "POLYLINE", drawn), tool="another viewer"))
    read = read_opacity_report(others, [header])
    assert read.opacities[0].box == BOX and read.problems == ()


def test_a_report_without_groups_says_nothing(header: pydicom.Dataset) -> None:
    read = read_opacity_report(report(header))
    assert read.opacities == () and not read.no_opacity and not read.confirmed_negative and len(read.problems) == 1


def test_other_documents_are_refused_in_one_line(header: pydicom.Dataset) -> None:
    letter = report(header)
    letter.ContentTemplateSequence[0].TemplateIdentifier = "2000"
    letter.ContentSequence = [comment("text")]
    broken = report(header, group(region(header, "POLYLINE", corners(*BOX))))
    (series,) = broken.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    del series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    for document in (letter, broken, header, pydicom.Dataset()):
        with pytest.raises(InputError) as caught:
            read_opacity_report(document)
        message = str(caught.value)
        assert "1500" in message and "\n" not in message and header.PatientID not in message
