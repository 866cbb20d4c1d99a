from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.examinations import Examinations
from monai_dgm.labelling.server.folder_dicomweb import FolderDicomWeb
from monai_dgm.labelling.server.http_errors import UnknownError
from tests.labelling.fake_archive import radiograph


@pytest.fixture
def web(analysis: RadiographAnalysis, folder: Path) -> FolderDicomWeb:
    from monai_dgm.labelling.dicom_objects.derived import encode_dicom
    from monai_dgm.transforms.placement import Placement, plane_nifti

    own = {"StudyDate": "20240305", "StudyTime": "101500", "PatientID": "mrn 7", "PatientName": "Roe^Jane"}
    (folder / "d.dcm").write_bytes(encode_dicom(radiograph(**own)))
    plane = np.arange(90 * 120, dtype=np.int16).reshape(90, 120)
    (folder / "e.nii.gz").write_bytes(plane_nifti(plane, Placement.from_spacing(90, 120)))
    return FolderDicomWeb(analysis, Examinations(folder))


def items(web: FolderDicomWeb, path: str, **query: str) -> list[dict[str, Any]]:
    answer = web.answer(path, query)
    assert answer.media_type == "application/dicom+json"
    return json.loads(answer.content)


def one(item: dict[str, Any], tag: str) -> Any:
    return item[tag]["Value"][0]


def test_each_file_of_any_format_is_a_study(web: FolderDicomWeb, analysis: RadiographAnalysis) -> None:
    studies = items(web, "studies")
    assert [one(item, "0020000D") for item in studies] == [web.names(name).study for name in analysis.studies.ids()]
    assert analysis.studies.ids() == ["a", "b", "d", "e", "sub__c"]
    assert [one(item, "00081030") for item in studies] == [f"File {name}" for name in analysis.studies.ids()]
    for name, item in zip(analysis.studies.ids(), studies, strict=True):
        uids = web.names(name)
        assert one(item, "0020000D") == uids.study == analysis.studies.find(name).study
        (series,) = items(web, f"studies/{uids.study}/series")
        (instance,) = items(web, f"studies/{uids.study}/series/{one(series, '0020000E')}/instances")
        (header,) = items(web, f"studies/{uids.study}/series/{uids.series}/metadata")
        assert one(header, "00080018") == one(instance, "00080018") == uids.instance
        assert (one(header, "00280010"), one(header, "00280011"), one(header, "00080060")) == (90, 120, "DX")
        assert "7FE00010" not in header
        for tag in ("00080020", "00100010", "00100020"):  # a viewer takes them from the header
            assert header[tag].get("Value") == item[tag].get("Value")
        known = analysis.view(name).radiograph.pixel_spacing  # where it is not known, nothing is measured in mm
        spacing = header.get("00280030", {}).get("Value")
        assert spacing == (None if known is None else pytest.approx(list(known)))
        assert {web.image_of(uid) for uid in vars(uids).values()} == {name}
    again = FolderDicomWeb(analysis, web.examinations)
    assert again.names("a") == web.names("a") != web.names("b")  # after a restart, too


def test_pixels_lie_as_in_the_file(web: FolderDicomWeb, analysis: RadiographAnalysis, folder: Path) -> None:
    for name in analysis.studies.ids():
        uids = web.names(name)
        path = f"studies/{uids.study}/series/{uids.series}/instances/{uids.instance}"
        answer = web.answer(f"{path}/frames/1", {})
        body = answer.content.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        frame = np.frombuffer(body, "<u2").reshape(90, 120).astype(float)
        pixels = analysis.view(name).radiograph.pixels
        wanted = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * 65535
        np.testing.assert_allclose(frame, wanted, atol=0.51)
        whole = web.answer(path, {}).content.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        assert pydicom.dcmread(io.BytesIO(whole)).PixelData == body
        shown = Image.open(io.BytesIO(web.answer(f"{path}/rendered", {}).content))
        assert shown.size == (120, 90) and np.corrcoef(np.asarray(shown).ravel(), wanted.ravel())[0, 1] > 0.95
        thumbnail = Image.open(
            io.BytesIO(web.answer(f"studies/{uids.study}/series/{uids.series}/thumbnail", {}).content)
        )
        assert thumbnail.size == (120, 90)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["a", "b", "d", "e", "sub__c"]),
        ({"limit": "2", "offset": "1"}, ["b", "d"]),
        ({"PatientID": "A"}, ["a"]),
        ({"00100010": "*C*"}, ["sub__c"]),
        ({"ModalitiesInStudy": "DX"}, ["a", "b", "d", "e", "sub__c"]),
        ({"ModalitiesInStudy": "CT"}, []),
        ({"StudyDate": "20240101-20241231"}, ["d"]),
        ({"StudyDate": "20240305"}, ["d"]),
        ({"StudyDate": "-20240304"}, []),
        ({"StudyDate": "20240305-"}, ["d"]),
        ({"StudyDescription": "*sub*"}, ["sub__c"]),
        ({"PatientID": "mrn 7", "limit": "5"}, ["d"]),
        ({"includefield": "all", "fuzzymatching": "true"}, ["a", "b", "d", "e", "sub__c"]),
    ],
)
def test_studies_are_searched(web: FolderDicomWeb, query: dict[str, str], names: list[str]) -> None:
    assert [one(item, "00081030") for item in items(web, "studies", **query)] == [f"File {name}" for name in names]


def test_other_addresses_are_not_found(web: FolderDicomWeb) -> None:
    a, b = web.names("a"), web.names("b")
    paths = ["", "system", "studies/1.2.3/series", f"studies/{a.study}/series/{b.series}/metadata"]
    paths += [f"studies/{a.study}/series/{a.series}/instances/{a.instance}/frames/2", "studies/../a.png"]
    for path in paths:
        with pytest.raises(UnknownError):
            web.answer(path, {})


def test_new_files_are_found(web: FolderDicomWeb, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_dgm.labelling.server.studies.RESCAN_SECONDS", 0.0)
    assert len(items(web, "studies")) == 5 and web.image_of(web.names("new").study) is None
    (folder / "new.png").write_bytes((folder / "a.png").read_bytes())
    assert web.image_of(web.names("new").study) == "new" and len(items(web, "studies")) == 6
