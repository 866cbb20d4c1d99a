"""Opacity boxes from a DICOM Structured Report, TID 1500: ours, OHIF's *Create Report*, and those of other viewers.

Rules:

- The region of a measurement group is its first SCOORD that is an area, at the level of the group or below one of its
  NUM items, where OHIF writes it. A region that is not a rectangle gives the box around it. Lines, points, regions in
  patient coordinates (SCOORD3D), on other frames of an image, or without area are left out, with a line in
  ``problems``.
- The text is the comment (121106, DCM), otherwise Cornerstone's free text of finding or site, otherwise the meaning of
  the finding's code.
- Cornerstone swaps row and column spacing when it converts a drawn region to columns and rows (cornerstone3D, issue
  2758). With square pixels this has no effect. With others, its regions are corrected to what the reader saw, if the
  image's header is given, with a line in ``problems``: boxes that OHIF loaded from a report were shown at a wrong
  place. Reports of monai-dgm are correct and are not changed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pydicom

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import SOFTWARE
from monai_dgm.labelling.dicom_objects.opacity_report import (
    AREAS,
    NoBox,
    OpacityReport,
    ReportedOpacity,
    box_of_graphic,
    inside_image,
    is_stretched,
    unstretch,
)
from monai_dgm.readers.dicom.image_pixel import shown_code

_CORNERSTONE = "Cornerstone3DTools@"
_TEMPLATE = "1500"
_IMAGING_MEASUREMENTS, _MEASUREMENT_GROUP = ("DCM", "126010"), ("DCM", "125007")
_TRACKING_IDENTIFIER, _TRACKING_UID = ("DCM", "112039"), ("DCM", "112040")
_FINDING, _COMMENT = ("DCM", "121071"), ("DCM", "121106")
_FINDING_SITES = (("SCT", "363698007"), ("SRT", "G-C0E3"))
_FREE_TEXT = "CORNERSTONEFREETEXT"
_TEXT_POSITION = ("99CS3D", "TextPosition")  # position of Cornerstone's text, not a region
_OPACITY, _ABSENT = ("DCM", "112001"), (("SCT", "272519000"), ("DCM", "121054"))
_PERSON, _DEVICE_MANUFACTURER = ("DCM", "121008"), ("DCM", "121014")
_DEVICE_MODEL, _DEVICE_VERSION = ("DCM", "121015"), ("DCM", "121016")
_SCORE = re.compile(r"(?:^|(?<=\s))(?:0?\.\d+|[01]\.\d+)$")
_STRETCHED = "pixels are not square: boxes are where Cornerstone drew them, loaded boxes at a wrong place"


class _Context(NamedTuple):
    """Values that are common to the regions of one report."""

    images: list[str]
    sources: dict[str, pydicom.Dataset]
    by_us: bool


def read_opacity_report(report: pydicom.Dataset, sources: Sequence[pydicom.Dataset] = ()) -> OpacityReport:
    """Read a TID 1500 report.

    Args:
        report: SR data set.
        sources: headers of the images that it may refer to, where available. Boxes on them are clipped to the image,
            and corrected if its pixels are not square and Cornerstone wrote the report.

    Raises:
        InputError: not a structured report of template 1500, or a damaged one. A problem with a single region is added
            to ``problems`` instead.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings can quote patient data
        try:
            return _read(report, sources)
        except InputError:
            raise
        except Exception as error:  # a damaged element raises when it is read, errors of many types
            raise InputError(
                f"structured report: expected template {_TEMPLATE}, it is damaged ({type(error).__name__})"
            ) from error


def parse_comment(text: str) -> tuple[str, float | None]:
    """(label, score) of a comment such as ``opacity 0.87``; a score is a number in [0, 1] at its end."""
    found = _SCORE.search(text.strip())
    if found is None or not 0 <= float(found[0]) <= 1:
        return text.strip(), None
    return text.strip()[: found.start()].strip(), float(found[0])


def _read(report: pydicom.Dataset, sources: Sequence[pydicom.Dataset]) -> OpacityReport:
    groups = _measurement_groups(report)
    observers = _children(report)
    by_us = any(_is(item, _DEVICE_MANUFACTURER) and item.get("TextValue") == SOFTWARE for item in observers)
    images = list(dict.fromkeys(_referenced_images(report)))
    by_uid = {str(source.get("SOPInstanceUID")): source for source in sources}
    context = _Context(images, by_uid, by_us)
    opacities, problems = [], []
    if not by_us and any(_tracking_identifier(group).startswith(_CORNERSTONE) for group in groups):
        stretched = [is_stretched(by_uid.get(uid)) for uid in images]
        problems += [f"image {i}: {_STRETCHED}" for i, known in enumerate(stretched, start=1) if known]
    for number, group in enumerate(groups, start=1):
        if _says_absent(group):
            continue
        try:
            opacities.append(_opacity(group, context))
        except NoBox as reason:
            problems.append(f"group {number}: {reason}")
    if not groups:
        problems.append("no measurement group: no statement about opacities")
    return OpacityReport(
        sop_instance_uid=str(report.get("SOPInstanceUID") or ""),
        study_uid=str(report.get("StudyInstanceUID") or ""),
        opacities=tuple(opacities),
        no_opacity=any(map(_says_absent, groups)),
        images=tuple(context.images),
        reader=_reader(observers),
        software=_software(report, groups, observers, by_us),
        by_us=by_us,
        written=_written(report),
        problems=tuple(problems),
    )


def _measurement_groups(report: pydicom.Dataset) -> list[pydicom.Dataset]:
    templates = [str(item.get("TemplateIdentifier")) for item in report.get("ContentTemplateSequence") or ()]
    containers = [item for item in _children(report) if _is(item, _IMAGING_MEASUREMENTS)]
    if report.get("Modality") != "SR" or (_TEMPLATE not in templates and not containers):
        raise InputError(
            f"structured report: expected Modality SR and template {_TEMPLATE}, "
            f"got {shown_code(str(report.get('Modality'))[:16])!r} "
            f"and template {shown_code(', '.join(templates)[:64].replace(',', '') or 'none')}"
        )
    return [group for container in containers for group in _children(container) if _is(group, _MEASUREMENT_GROUP)]


def _opacity(group: pydicom.Dataset, context: _Context) -> ReportedOpacity:
    items = _children(group)
    region = _region(items)
    image = _image_of(region, context.images)
    points = np.asarray(region.get("GraphicData") or [], dtype=np.float64)
    if points.size < 2 or points.size % 2 or not np.isfinite(points).all():
        raise NoBox("coordinates that are no list of finite columns and rows")
    points = points.reshape(-1, 2)
    source = context.sources.get(image)
    if source is not None and _tracking_identifier(group).startswith(_CORNERSTONE) and not context.by_us:
        points = unstretch(points, source)
    xmin, ymin, xmax, ymax = inside_image(box_of_graphic(str(region.GraphicType), points), source)
    text = _text(items)
    return ReportedOpacity(
        box=(float(xmin), float(ymin), float(xmax), float(ymax)),
        text=text,
        score=parse_comment(text)[1],
        tracking_uid=next((str(item.get("UID")) for item in items if _is(item, _TRACKING_UID)), ""),
        sop_instance_uid=image,
    )


def _region(items: list[pydicom.Dataset]) -> pydicom.Dataset:
    """The first area among a group's items and those below its NUMs."""
    below = [child for item in items if item.get("ValueType") == "NUM" for child in _children(item)]
    regions = [item for item in [*items, *below] if item.get("ValueType") == "SCOORD" and not _is(item, _TEXT_POSITION)]
    for region in regions:
        if region.get("GraphicType") in AREAS:
            return region
    if regions:
        raise NoBox(f"{str(regions[0].get('GraphicType'))[:16]}, which is no area")
    if any(item.get("ValueType") == "SCOORD3D" for item in [*items, *below]):
        raise NoBox("coordinates in the patient (SCOORD3D) instead of the image")
    raise NoBox("no coordinates (SCOORD)")


def _image_of(region: pydicom.Dataset, images: list[str]) -> str:
    references = [
        reference
        for item in _children(region)
        for reference in item.get("ReferencedSOPSequence") or ()
        if item.get("ValueType") == "IMAGE"
    ]
    if not references:
        if len(images) != 1:
            raise NoBox(f"no image given, and the report refers to {len(images)}")
        return images[0]
    frames = references[0].get("ReferencedFrameNumber")
    if frames not in (None, "", 1) and list(np.atleast_1d(frames)) != [1]:
        raise NoBox("on a further frame of the image; radiographs have one")
    return str(references[0].ReferencedSOPInstanceUID)


def _text(items: list[pydicom.Dataset]) -> str:
    for item in items:
        if _is(item, _COMMENT) and item.get("TextValue"):
            return str(item.TextValue).strip()
    named = [item for item in items if _is(item, _FINDING) or _is(item, *_FINDING_SITES)]
    codes = [code for item in named for code in item.get("ConceptCodeSequence") or ()]
    codes.sort(key=lambda code: code.get("CodeValue") != _FREE_TEXT)
    return str(codes[0].get("CodeMeaning") or "").strip() if codes else ""


def _tracking_identifier(group: pydicom.Dataset) -> str:
    return next((str(item.get("TextValue")) for item in _children(group) if _is(item, _TRACKING_IDENTIFIER)), "")


def _says_absent(group: pydicom.Dataset) -> bool:
    return any(
        _is(item, _OPACITY) and any(_code(value) in _ABSENT for value in item.get("ConceptCodeSequence") or ())
        for item in _children(group)
    )


def _referenced_images(report: pydicom.Dataset) -> Iterator[str]:
    """SOP Instance UIDs of the report's evidence."""
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in report.get(keyword) or ():
            for series in study.get("ReferencedSeriesSequence") or ():
                for instance in series.get("ReferencedSOPSequence") or ():
                    yield str(instance.ReferencedSOPInstanceUID)


def _reader(observers: list[pydicom.Dataset]) -> str | None:
    for item in observers:
        if _is(item, _PERSON):
            name = str(item.get("PersonName") or "").strip("^= ")
            if name and name.lower() != "unknown^unknown":
                return name
    return None


def _software(
    report: pydicom.Dataset, groups: list[pydicom.Dataset], observers: list[pydicom.Dataset], by_us: bool
) -> str:
    if by_us:
        parts = [
            str(item.get("TextValue")) for item in observers if _is(item, _DEVICE_MODEL) or _is(item, _DEVICE_VERSION)
        ]
        return " ".join([SOFTWARE, *parts])
    for identifier in map(_tracking_identifier, groups):
        if identifier.startswith(_CORNERSTONE):
            return identifier.split(":")[0]
    keywords = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")
    return " ".join(str(report.get(keyword)) for keyword in keywords if report.get(keyword)) or "unknown"


def _written(report: pydicom.Dataset) -> datetime | None:
    date, time = str(report.get("ContentDate") or ""), str(report.get("ContentTime") or "")
    digits = time.split(".")[0].replace(":", "").ljust(6, "0")
    fraction = (time.split(".")[1] if "." in time else "").ljust(6, "0")[:6]
    try:
        return datetime.strptime(f"{date.replace('.', '')} {digits} {fraction}", "%Y%m%d %H%M%S %f")
    except ValueError:
        return None


def _children(item: pydicom.Dataset) -> list[pydicom.Dataset]:
    return list(item.get("ContentSequence") or ())


def _is(item: pydicom.Dataset, *concepts: tuple[str, str]) -> bool:
    return any(_code(code) in concepts for code in item.get("ConceptNameCodeSequence") or ())


def _code(code: pydicom.Dataset) -> tuple[str, str]:
    return str(code.get("CodingSchemeDesignator") or "").strip(), str(code.get("CodeValue") or "").strip()
