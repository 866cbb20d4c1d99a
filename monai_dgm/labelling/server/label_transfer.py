"""Export and import of labels: COCO's JSON, the RSNA challenge's CSV, and our own JSON.

Files hold image ids, but no names of patients and no paths. The consensus in an export is that of
:mod:`monai_dgm.labelling.labels.consensus`; images whose readers disagree, or whose labels differ in the size of the
image, are left out and counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from monai_dgm.data.rsna import parse_boxes
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.consensus import consensus_of
from monai_dgm.labelling.labels.image_label import ImageLabel, checked_reader
from monai_dgm.labelling.labels.label_io import (
    labels_to_coco,
    labels_to_rsna_csv,
    parse_coco,
    rsna_boxes_to_labels,
)
from monai_dgm.labelling.labels.reader_boxes import with_model_boxes
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import TooLargeError, UnavailableError, UnknownError
from monai_dgm.labelling.server.request_options import known_name
from monai_dgm.labelling.server.submissions import Submissions
from monai_dgm.readers.read import image_shape

__all__ = ["EXPORTS", "IMPORTS", "Export", "Imported", "export_labels", "keep_all", "parse_labels"]

EXPORTS = ("coco", "rsna", "json")
IMPORTS = ("coco", "rsna")
CONSENSUS, EVERYONE = "consensus", "all"  # these stand for several readers
MAX_IMPORT_BYTES = 4_000_000  # the label file of the challenge has 1.6 MB
_NAMES = {
    "coco": ("labels-coco.json", "application/json"),
    "rsna": ("labels-rsna.csv", "text/csv; charset=utf-8"),
    "json": ("labels.json", "application/json"),
}


@dataclass(frozen=True)
class Export:
    """Labels as a file.

    Attributes:
        name: of the file.
        media_type: of its content.
        content: bytes.
        images: number of images in it.
        left_out: ids of the images without consensus, sorted.
    """

    name: str
    media_type: str
    content: bytes
    images: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Imported:
    """Result of an import: number of images, of new labels, and of labels that were stored already."""

    images: int
    added: int
    unchanged: int


def export_labels(submissions: Submissions, form: str, readers: str = CONSENSUS) -> Export:
    """The current labels as a file.

    Args:
        submissions: of the server.
        form: "coco", "rsna" or "json" (``{"labels": [...]}`` as :meth:`ImageLabel.as_dict` writes them, and
            "left_out", ids of images without consensus).
        readers: "consensus", "all" (labels of every reader), or the name of one reader.

    Raises:
        UnknownError: another form, or a reader without labels.
        InputError: several labels of one image in COCO or CSV, which hold one label per image.
    """
    known_name(form, EXPORTS, "a form")
    who = checked_reader(readers)
    by_image = {name: submissions.of_image(name) for name in sorted(submissions.labelled())}
    left_out: tuple[str, ...] = ()
    if who == CONSENSUS:
        agreed = {name: consensus_label(labels) for name, labels in by_image.items()}
        left_out = tuple(name for name, label in agreed.items() if label is None)
        chosen = [label for label in agreed.values() if label is not None]
    else:
        everything = [label for labels in by_image.values() for label in sorted(labels, key=lambda one: one.reader)]
        chosen = [label for label in everything if who in (EVERYONE, label.reader)]
        if who != EVERYONE and not chosen:
            raise UnknownError("readers: expected consensus, all, or a reader who has labels, got another")
    name, media_type = _NAMES[form]
    content = _written(form, chosen, left_out).encode("utf-8")
    return Export(name, media_type, content, len({label.image_id for label in chosen}), left_out)


def consensus_label(labels: Sequence[ImageLabel]) -> ImageLabel | None:
    """The consensus of an image's readers, with the time of their latest label; None where they disagree."""
    if len({label.size for label in labels}) != 1:
        return None
    found = consensus_of(labels)
    if found.status == "disputed":
        return None
    return replace(found.as_label(), time=max(label.time for label in labels))


def parse_labels(
    document: bytes, form: str, reader: str, size_of: Callable[[str], tuple[int, int]]
) -> list[ImageLabel]:
    """The labels of an imported file, all of them checked.

    Args:
        document: content of the file.
        form: "coco" or "rsna".
        reader: name of the reader for the imported labels.
        size_of: (rows, cols) of a radiograph by its id; raises UnknownError for an unknown one.

    Raises:
        UnknownError: another form, or an image that is not among the studies.
        TooLargeError: more bytes than are read.
        InputError: a reader that cannot be one, or what the file says is wrong, of another size than the radiograph, or
            outside it.
    """
    known_name(form, IMPORTS, "a form")
    who = checked_reader(reader)
    if who in (CONSENSUS, EVERYONE):
        raise InputError(
            f"reader: expected another name than {CONSENSUS} or {EVERYONE}, which stand for several readers"
        )
    if len(document) > MAX_IMPORT_BYTES:
        raise TooLargeError(f"labels: expected at most {MAX_IMPORT_BYTES} bytes, got {len(document)}")
    if form == "rsna":
        boxes = parse_boxes(document, "labels")
        return rsna_boxes_to_labels("labels", boxes, {name: size_of(name) for name in boxes}, who)
    labels = parse_coco(document, "labels", MAX_IMPORT_BYTES, who)
    for label in labels:
        if size_of(label.image_id) != label.size:
            raise InputError("labels: expected images of the size of the radiographs, got one of another size")
    if not labels:
        raise InputError("labels: expected at least one image, got none")
    return labels


def size_in(analysis: RadiographAnalysis, image_id: str) -> tuple[int, int]:
    """(rows, cols) of a radiograph; in a folder read from the header alone, since an import may have thousands.

    Raises:
        InputError: as :meth:`RadiographAnalysis.placement`.
    """
    path = analysis.studies.find(image_id).path
    if path is None:
        placement = analysis.placement(image_id)
        return placement.rows, placement.cols
    try:
        return image_shape(path)
    except (InputError, OSError):  # its message contains the path
        raise InputError("labels: expected radiographs that can be read, got an image that cannot") from None


def keep_all(labels: Sequence[ImageLabel], submissions: Submissions) -> Imported:
    """Store checked labels; a label equal to its reader's latest one is not stored again.

    Of boxes that this server showed the reader, those that the reader left as they were are the model's again, see
    :func:`monai_dgm.labelling.labels.reader_boxes.with_model_boxes`.

    Raises:
        UnavailableError: the disk is full; repeating the import adds the rest.
    """
    added = 0
    for index, label in enumerate(labels):
        try:
            shown = submissions.shown(label.image_id, label.reader)
            own = shown if shown is not None and shown.reader == label.reader else None
            added += submissions.keep(with_model_boxes(label, own)).label.time == label.time
        except OSError as error:
            reason = f"{index} of {len(labels)} labels were stored, then the disk failed ({error.strerror})"
            raise UnavailableError(f"labels: {reason}; repeat the import to add the rest") from None
    return Imported(len(labels), added, len(labels) - added)


def _written(form: str, labels: Sequence[ImageLabel], left_out: Sequence[str]) -> str:
    if form == "rsna":
        return labels_to_rsna_csv(labels)
    values: dict[str, Any] = {"labels": [label.as_dict() for label in labels], "left_out": list(left_out)}
    return json.dumps(labels_to_coco(labels) if form == "coco" else values, ensure_ascii=False, allow_nan=False)
