from __future__ import annotations

import logging

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive import archive_client as archive_client
from monai_dgm.labelling.archive.archive_client import ArchiveClient, StudyUIDs, checked_archive_url, is_uid, value_of
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, TooLargeError, UnknownError, status_of
from tests.labelling.fake_archive import FakeArchive, radiograph

ADDRESSES = ["ftp://a/b", "http://", "http://user:secret@host/x", "http://host/x?y=1", "http://[::1", "file:///etc"]


def uids_of(dataset) -> StudyUIDs:
    return StudyUIDs(dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)


@pytest.mark.parametrize("address", ADDRESSES)
def test_other_addresses_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InputError) as caught:
        ArchiveClient(address)
    assert "secret" not in str(caught.value)


def test_an_address_loses_its_last_slash() -> None:
    assert checked_archive_url("http://host:8042/dicom-web/ ") == "http://host:8042/dicom-web"


def test_uids_that_may_stand_in_an_address() -> None:
    assert is_uid("1.2.840.10008") and is_uid("2.25.012")
    assert not any(map(is_uid, ["", "..", "1..2", "1.2/..", "1.2?x", "a.b", "1." * 40 + "1", None, 3, "1.2\n"]))


def test_what_is_stored_comes_back_as_it_is(fake_archive: FakeArchive) -> None:
    client, image = ArchiveClient(fake_archive.url), radiograph()
    client.store([image], image.StudyInstanceUID)
    assert client.retrieve(uids_of(image)) == fake_archive.instances[image.SOPInstanceUID][0]
    assert len(client.retrieve(uids_of(image))) == len(encode_dicom(image))
    (series,) = client.series(filters={"Modality": "DX"})
    assert value_of(series, "0020000E") == image.SeriesInstanceUID and not client.series(filters={"Modality": "CR"})
    (instance,) = client.instances(image.StudyInstanceUID, image.SeriesInstanceUID)
    assert (value_of(instance, "00280010"), value_of(instance, "00280011")) == (90, 120)


@pytest.mark.parametrize("knows_offset", [True, False])
def test_all_pages_are_asked_for_and_it_ends(fake_archive: FakeArchive, knows_offset: bool) -> None:
    fake_archive.add(*(radiograph(str(i)) for i in range(5)))
    fake_archive.page, fake_archive.knows_offset = 2, knows_offset
    assert len(ArchiveClient(fake_archive.url).series(filters={"Modality": "DX"})) == (5 if knows_offset else 2)


def test_what_is_not_there_and_what_is_too_large(fake_archive: FakeArchive) -> None:
    image = radiograph()
    fake_archive.add(image)
    with pytest.raises(UnknownError):
        ArchiveClient(fake_archive.url).retrieve(StudyUIDs("1.2", "1.3", "1.4"))
    with pytest.raises(TooLargeError):
        ArchiveClient(fake_archive.url, max_bytes=1_000).retrieve(uids_of(image))


@pytest.mark.parametrize("status", [302, 401, 500, 503])
def test_an_archive_that_does_not_serve_is_away(fake_archive: FakeArchive, status: int) -> None:
    fake_archive.fail = status
    with pytest.raises(ArchiveAwayError) as caught:
        ArchiveClient(fake_archive.url).series(filters={"Modality": "DX"})
    assert status_of(caught.value) == 503 and "\n" not in str(caught.value)
    assert len(fake_archive.asked) == 1  # neither tried again nor sent elsewhere


def test_an_archive_that_is_not_there_is_away_and_a_wrong_answer_too(
    fake_archive: FakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArchiveAwayError, match="does not answer"):
        ArchiveClient("http://127.0.0.1:9/dicom-web").series(filters={"Modality": "DX"})
    monkeypatch.setattr(FakeArchive, "search", lambda *_: "text")
    with pytest.raises(ArchiveAwayError, match="something unexpected"):
        ArchiveClient(fake_archive.url).series(filters={"Modality": "DX"})
    monkeypatch.setattr(archive_client, "MAX_JSON_BYTES", 3)
    with pytest.raises(TooLargeError):
        ArchiveClient(fake_archive.url).series(filters={"Modality": "DX"})


def test_a_request_that_the_archive_refuses_is_an_error_of_input(fake_archive: FakeArchive) -> None:
    fake_archive.fail = 400
    with pytest.raises(InputError, match="refuses a request .status 400.") as caught:
        ArchiveClient(fake_archive.url).series(filters={"Modality": "DX"})
    assert not isinstance(caught.value, ArchiveAwayError)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/dicom", b"DICM", b"DICM"),
        ('multipart/related; boundary="x"', b"--x\r\nA: b\r\n\r\nDICM\r\n--x--", b"DICM"),
        ("Multipart/Related; boundary=x", b"\r\n--x\r\n\r\nDICM\r\n--x--", b"DICM"),
        ("multipart/related", b"--x\r\n\r\nDICM\r\n--x--", None),
        ("multipart/related; boundary=y", b"--x\r\n\r\nDICM\r\n--x--", None),
        ("multipart/related; boundary=x", b"--x\r\n\r\nDICM", None),
        ("multipart/related; boundary=x", b"--x", None),
    ],
)
def test_an_instance_is_the_first_part_of_a_message(kind: str, body: bytes, expected: bytes | None) -> None:
    if expected is None:
        with pytest.raises(ValueError):
            archive_client._first_part(body, kind)
    else:
        assert archive_client._first_part(body, kind) == expected


def test_an_answer_that_never_ends_is_given_up(fake_archive: FakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_archive.add(radiograph())
    monkeypatch.setattr(archive_client, "TOTAL_SECONDS", -1.0)
    with pytest.raises(ArchiveAwayError, match="takes too long"):
        ArchiveClient(fake_archive.url).series(filters={"Modality": "DX"})


def test_a_part_over_the_limit_is_refused(fake_archive: FakeArchive) -> None:
    image = radiograph()
    fake_archive.add(image)
    size = len(fake_archive.instances[image.SOPInstanceUID][0])
    with pytest.raises(TooLargeError, match=f"at most {size - 1} bytes, got {size}"):
        ArchiveClient(fake_archive.url, max_bytes=size - 1).retrieve(uids_of(image))


def test_an_object_that_is_refused(fake_archive: FakeArchive) -> None:
    fake_archive.refuse = "DX"
    with pytest.raises(InputError, match="refused 1 of 1"):
        ArchiveClient(fake_archive.url).store([radiograph()], radiograph().StudyInstanceUID)


def test_no_uid_is_logged(fake_archive: FakeArchive, caplog: pytest.LogCaptureFixture) -> None:
    image = radiograph()
    with caplog.at_level(logging.DEBUG):
        client = ArchiveClient(fake_archive.url)
        client.store([image], image.StudyInstanceUID)
        client.instances(image.StudyInstanceUID, image.SeriesInstanceUID)
        client.retrieve(uids_of(image))
    assert image.StudyInstanceUID not in caplog.text
