"""Routes of a reader: a case with its boxes, numbers and maps, the next case, the worklist, and double reading."""

from __future__ import annotations

import csv
import io
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from lib.access import CurrentUser, GuardedRoute
from lib.dependencies import App, Body, ImageId, reader_who_asks
from lib.page_routes import page
from monai_dgm.labelling.labels.agreement import reader_agreement
from monai_dgm.labelling.labels.image_label import ADJUDICATION
from monai_dgm.labelling.labels.json_input import checked, parse_json
from monai_dgm.labelling.labels.reader_boxes import read_viewer_boxes
from monai_dgm.labelling.reading.case import label_values
from monai_dgm.labelling.reading.plan import adjudicator
from monai_dgm.labelling.reading.queue import NextRequest, WorklistOrder
from monai_dgm.labelling.server.pictures import layer_png
from monai_dgm.labelling.server.submissions import Submitted, label_of_reading

SOURCE = "ohif"
MAX_REQUEST_BYTES = 500_000

router = APIRouter(route_class=GuardedRoute)
_NUMBERS = ("images", "same_status", "kappa", "kappa_low", "kappa_high", "matched", "matched_iou", "matched_share")


@router.get("/dgm/boxes")
def get_boxes(
    app: App, image: ImageId, user: CurrentUser, fresh: bool = False, despite_remark: bool = False, reader: str = ""
) -> dict[str, Any]:
    """The model's boxes of an image: those that the reader saw last, or new ones with ``fresh``; nothing is stored."""
    who = reader_who_asks({"reader": reader}, user)
    found = app.cases.model_boxes(image, who, fresh, despite_remark)
    return {"image": image, **found.as_dict(), **app.plan.describe(image, who)}


@router.post("/dgm/boxes")
def show_boxes(
    app: App, image: ImageId, user: CurrentUser, fresh: bool = False, despite_remark: bool = False, reader: str = ""
) -> dict[str, Any]:
    """As GET for a reader who opens the case: it is reserved, and stored which boxes the reader sees.

    "own" is the reader's label, null without one; "reserved" is false where enough readers have read the case or have
    it open.
    """
    who = reader_who_asks({"reader": reader}, user)
    if app.watcher is not None:
        app.watcher.look_before_opening(image)
    found = app.cases.show(image, who, fresh, despite_remark)
    values = {"image": image, **found.as_dict(), "own": app.cases.own_label(image, who)}
    return {**values, "reserved": app.plan.open(image, who), **app.plan.describe(image, who)}


@router.put("/dgm/boxes")
def put_boxes(app: App, image: ImageId, document: Body, user: CurrentUser, reader: str = "") -> dict[str, Any]:
    """Store a reader's boxes, or a confirmed negative, as the label of an image."""
    who = reader_who_asks({"reader": reader}, user)
    kept = _keep(app, image, document, who, SOURCE)
    app.plan.reservations.release([image], who)
    return kept


@router.get("/dgm/numbers")
def get_numbers(app: App, image: ImageId) -> dict[str, Any]:
    """Abnormality probability, residue burden, remarks, and the maps that can be laid over the image."""
    return app.cases.numbers(image)


@router.get("/dgm/layers/{name}")
def get_layer(app: App, name: str, image: ImageId) -> Response:
    """A map over the radiograph, one grey level a pixel, as PNG; the viewer colours it."""
    return Response(layer_png(app.analysis, image, name), media_type="image/png")


@router.post("/dgm/next")
def next_case(app: App, document: Body, user: CurrentUser, reader: str = "") -> dict[str, Any]:
    """The case that the reader is offered next, reserved for the reader; empty where none is left."""
    request = checked(NextRequest, parse_json(document or b"{}", "next", MAX_REQUEST_BYTES), "next")
    return app.queue.next_case(reader_who_asks({"reader": reader}, user), request)


@router.put("/dgm/reservation")
def prolong_reservation(app: App, image: ImageId, user: CurrentUser, reader: str = "") -> dict[str, Any]:
    """The reader still works on a case that is open: its reservation lasts longer.

    "reserved" is false where it had ended, and enough others have read the case or have it open.
    """
    who = reader_who_asks({"reader": reader}, user)
    return {"image": image, "reader": who, "reserved": app.plan.open(image, who)}


@router.delete("/dgm/reservation")
def end_reservation(app: App, image: ImageId, user: CurrentUser, reader: str = "") -> dict[str, Any]:
    """The reader has closed a case: it is offered to others again."""
    who = reader_who_asks({"reader": reader}, user)
    app.plan.reservations.release([image], who)
    return {"image": image, "reader": who}


@router.post("/dgm/worklist")
def worklist(app: App, document: Body, user: CurrentUser, reader: str = "", limit: int = 500) -> dict[str, Any]:
    """The first rows of the worklist in the order that the body names, and the number of all rows."""
    order = checked(WorklistOrder, parse_json(document or b"{}", "worklist", MAX_REQUEST_BYTES), "worklist")
    rows, total = app.queue.worklist(reader_who_asks({"reader": reader}, user), order, max(0, limit))
    return {"rows": rows, "total": total, "blinded": app.plan.blinded}


@router.get("/dgm/readings")
def get_readings(app: App, image: ImageId) -> list[dict[str, Any]]:
    """The labels of all readers of a case that two or more have read, for a reviewer who decides."""
    return [label_values(label) for label in app.plan.to_decide(image)]


@router.put("/dgm/adjudication")
def put_adjudication(app: App, image: ImageId, document: Body, user: CurrentUser, reader: str = "") -> dict[str, Any]:
    """Store a reviewer's decision as the consensus of a case that two or more have read; their labels stay."""
    app.plan.to_decide(image)
    return _keep(app, image, document, adjudicator(reader_who_asks({"reader": reader}, user)), ADJUDICATION)


@router.get("/dgm/agreement")
def get_agreement(app: App, form: Literal["json", "csv"] = "json") -> Response:
    """Kappa and matched IoU of each two readers who read the same images, as JSON or CSV."""
    rows = _agreement(app)
    if form == "json":
        return JSONResponse({"pairs": rows, "disputed": app.plan.disputed()})
    buffer = io.StringIO()
    columns = ["first", "second", *(name for name in _NUMBERS)]
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([*columns, "boxes_first", "boxes_second"])
    for row in rows:
        writer.writerow([*map(_as_text, row["readers"]), *(row[name] for name in _NUMBERS), *row["boxes"]])
    headers = {"content-disposition": 'attachment; filename="agreement.csv"', "cache-control": "no-store"}
    return Response(buffer.getvalue(), media_type="text/csv", headers=headers)


@router.get("/agreement", include_in_schema=False)
def agreement_page(request: Request, app: App) -> Response:
    """The readers' agreement as a page."""
    return page(request, "agreement.html", pairs=_agreement(app), disputed=len(app.plan.disputed()))


def _agreement(app: Any) -> list[dict[str, Any]]:
    return [pair.as_dict() for pair in reader_agreement(app.submissions.all())]


def _as_text(name: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name


def _keep(app: Any, image: str, document: bytes, who: str, source: str) -> dict[str, Any]:
    placement = app.analysis.placement(image)
    reading = read_viewer_boxes(document, placement)
    label = label_of_reading(reading, image, placement, who, source, app.submissions.shown(image, who))
    kept: Submitted = app.submissions.keep(label, reading.ignored)
    app.on_save_label(image, image)
    return {
        "image": image,
        "reader": kept.label.reader,
        "status": kept.label.status,
        "boxes": [box.as_dict() for box in kept.label.boxes],
        "number": kept.number,
        "ignored": list(kept.ignored),
    }
