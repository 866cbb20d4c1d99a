from __future__ import annotations

import pytest

from monai_dgm.labelling.archive.dicomweb_paths import checked_path, own_addresses
from monai_dgm.labelling.server.http_errors import UnknownError

INSTANCE = "studies/1.2.3/series/2.25.4/instances/5.6"
READ = [
    "studies", "series", "instances", "studies/1.2", "studies/1.2/series", "studies/1.2/metadata",
    "studies/1.2/instances", "studies/1.2/series/3.4/metadata", "studies/1.2/series/3.4/instances", INSTANCE,
    f"{INSTANCE}/metadata", f"{INSTANCE}/rendered", f"{INSTANCE}/thumbnail", f"{INSTANCE}/frames/1",
    f"{INSTANCE}/frames/1,2/rendered", f"{INSTANCE}/bulk/7fe00010", f"{INSTANCE}/bulkdata/52009229/0/7FE00010",
]  # fmt: skip
HOSTILE = [
    "", "/", "studies/", "studies/..", "studies/../x", "studies/1..2", "studies/1.2/..", "studies/1.2/series/../..",
    f"{INSTANCE}/bulkdata/..", f"{INSTANCE}/bulkdata/../../x", f"{INSTANCE}/frames/1/..", f"{INSTANCE}/frames/x",
    "studies//series", "studies/1.2?x", "studies/1.2#x", "studies/1.2\n", "studies/%2e%2e", "studies/1.2@host", "../x",
    "http://host/studies", "//host/studies", "instances/1", "system", "studies/" + "1." * 500 + "1",
]  # fmt: skip


@pytest.mark.parametrize("path", READ)
def test_what_dicomweb_has_is_passed_on(path: str) -> None:
    assert checked_path("GET", path) == path


@pytest.mark.parametrize("path", HOSTILE)
def test_nothing_else_is(path: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(UnknownError):
            checked_path(method, path)


def test_objects_are_stored_in_studies_alone() -> None:
    assert checked_path("POST", "studies") and checked_path("POST", "studies/1.2")
    with pytest.raises(UnknownError):
        checked_path("POST", INSTANCE)


def test_addresses_in_answers_become_ours() -> None:
    body = rb'{"a": "http://archive:1/dicom-web/studies/1", "b": "http:\/\/archive:1\/dicom-web\/x", "c": "http://x/"}'
    ours = rb'{"a": "http://me:2/dicom-web/studies/1", "b": "http:\/\/me:2\/dicom-web\/x", "c": "http://x/"}'
    assert own_addresses(body, "http://archive:1/dicom-web", "http://me:2/dicom-web") == ours
