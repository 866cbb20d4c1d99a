"""Client of a DICOMweb archive (PS3.18) with limits of time and bytes; errors are one line.

QIDO-RS and STOW-RS are done by dicomweb-client. WADO-RS is done here: an instance is returned as the archive's bytes,
since our reader decides what is safe to decompress. Requests are not logged, since the UIDs in an address identify a
study.
"""

from __future__ import annotations

import io
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pydicom

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import encode_dicom, is_uid
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, TooLargeError, UnknownError
from monai_dgm.labelling.server.studies import MAX_FILE_BYTES
from monai_dgm.utils.optional_package import not_installed

try:
    import requests
    from dicomweb_client import DICOMwebClient
except ImportError as missing:
    raise not_installed("dicomweb_client", "studies of an archive", "dicom") from missing

__all__ = ["ArchiveClient", "StudyUIDs", "checked_archive_url", "is_uid", "value_of"]

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 5.0, 60.0, 300.0
PAGE = 1_000
MAX_RESULTS = 1_000_000  # in one search
MAX_JSON_BYTES = 100_000_000
NOT_CHUNKED = 2**31  # some archives accept no chunked requests
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_SIZE = ["Rows", "Columns"]
_TIMES = ["InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime"]
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'

JSON = dict[str, Any]


@dataclass(frozen=True)
class StudyUIDs:
    """The UIDs of an instance.

    Attributes:
        study, series, instance: Study, Series and SOP Instance UID.
    """

    study: str
    series: str
    instance: str

    @property
    def path(self) -> str:
        """Path of its WADO-RS address, relative to the archive's."""
        return f"studies/{self.study}/series/{self.series}/instances/{self.instance}"


def checked_archive_url(url: str) -> str:
    """The address of a DICOMweb service, without a slash at the end.

    Raises:
        InputError: not http or https, no host, or with user, password, query or fragment, since addresses are shown.
    """
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError(
            "studies: expected a DICOMweb address such as http://127.0.0.1:8042/dicom-web, without user and query"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def value_of(item: JSON, tag: str) -> Any:
    """First value of an attribute in DICOM JSON (PS3.18 F.2); None where it has no value."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


class ArchiveClient:
    """Client of one archive. Safe with several threads as far as a session of requests is.

    Args:
        url: address of its DICOMweb service.
        login: user and password for HTTP basic authentication.
        max_bytes: size limit of one instance.

    Raises:
        InputError: as :func:`checked_archive_url`.
    """

    def __init__(self, url: str, login: tuple[str, str] | None = None, max_bytes: int = MAX_FILE_BYTES) -> None:
        self.url = checked_archive_url(url)
        self.login = login
        self.max_bytes = max_bytes
        for name in ("dicomweb_client", "urllib3.connectionpool", "highdicom"):  # they log addresses and UIDs
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._session = _BoundedSession(MAX_JSON_BYTES)
        self._session.auth = login
        self._client = DICOMwebClient(self.url, session=self._session, chunk_size=NOT_CHUNKED, permissive_uid=True)
        self._client.set_http_retry_params(False)

    def series(self, study: str | None = None, filters: Mapping[str, str] | None = None) -> list[JSON]:
        """Series of one study or of all studies that match, with study date, modality and body part.

        Args:
            study: Study Instance UID; None for all studies.
            filters: values by keyword or tag, as QIDO-RS takes them (PS3.18 8.3.4), of the series and of the study.

        Raises:
            ArchiveAwayError: no answer, or an answer that is not DICOM JSON.
        """
        fields = ["NumberOfSeriesRelatedInstances", "StudyDate", "StudyTime", "BodyPartExamined"]
        filters = dict(filters or {})
        return self._pages(
            lambda **page: self._client.search_for_series(study, search_filters=filters, fields=fields, **page),
            (_STUDY, _SERIES),
            {} if study is None else {_STUDY: study},
        )

    def instances(self, study: str, series: str) -> list[JSON]:
        """Instances of a series, with their size and when they were made; errors as :meth:`series`."""
        fields = [*_SIZE, *_TIMES]
        return self._pages(
            lambda **page: self._client.search_for_instances(study, series, fields=fields, **page),
            (_INSTANCE,),
            {_STUDY: study, _SERIES: series},
        )

    def all_instances(self, filters: Mapping[str, str]) -> list[JSON]:
        """Instances of all studies that match, with what :meth:`instances` and :meth:`series` give; errors as there.

        Raises:
            InputError: the archive has no search over all studies.
        """
        fields = [*_SIZE, *_TIMES, "SOPClassUID", "StudyDate", "StudyTime", "BodyPartExamined"]
        return self._pages(
            lambda **page: self._client.search_for_instances(search_filters=dict(filters), fields=fields, **page),
            (_STUDY, _SERIES, _INSTANCE),
            {},
        )

    def json(self, address: str) -> Any:
        """The JSON at an address of the archive's server outside of DICOMweb; for archives that offer more.

        Raises:
            UnknownError: there is none.
            ArchiveAwayError: no answer, or no JSON.
        """
        with _one_line():
            response = self._session.request("GET", address, headers={"Accept": "application/json"})
            response.raise_for_status()
            return response.json()

    def retrieve(self, uids: StudyUIDs, max_bytes: int | None = None) -> bytes:
        """One instance as the archive holds it, a DICOM file (PS3.10).

        Raises:
            UnknownError: the archive has none.
            TooLargeError: more than ``max_bytes``, by default those of an image.
            ArchiveAwayError: as :meth:`series`.
        """
        limit = self.max_bytes if max_bytes is None else max_bytes
        with _one_line():
            headers = {"Accept": _DICOM}
            response = self._session.request("GET", f"{self.url}/{uids.path}", headers=headers, limit=limit + 10_000)
            response.raise_for_status()
            content = _first_part(response.content, response.headers.get("Content-Type", ""))
        if len(content) > limit:
            raise TooLargeError(f"image: expected an instance of at most {limit} bytes, got {len(content)}")
        return content

    def store(self, objects: Sequence[pydicom.Dataset], study: str) -> None:
        """Add objects to a study; objects that are already in it stay as they are.

        Raises:
            InputError: the archive refuses one of them.
            ArchiveAwayError: as :meth:`series`.
        """
        with _one_line(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings can quote patient data
            # in the form of a file, with preamble and file meta information
            files = [pydicom.dcmread(io.BytesIO(encode_dicom(item))) for item in objects]
            failed = self._client.store_instances(files, study).get("FailedSOPSequence") or ()
        if len(failed):
            raise InputError(f"the archive refused {len(failed)} of {len(objects)} objects")

    def delete_series(self, study: str, series: str) -> bool:
        """Delete a series, if the archive allows it: by DICOMweb, else by Orthanc's own addresses, as DICOM names none.

        Returns:
            Whether the archive says that it was deleted.

        Raises:
            ArchiveAwayError: no answer.
        """
        try:
            answer = self._session.request("DELETE", f"{self.url}/studies/{study}/series/{series}")
            if answer.ok:
                return True
            root = self.url.rsplit("/", 1)[0]
            found = self._session.request("POST", f"{root}/tools/lookup", data=series)
            known = found.json() if found.ok else []
            ids = [str(one["ID"]) for one in known if one.get("Type") == "Series"]
            return bool(ids) and all(self._session.request("DELETE", f"{root}/series/{one}").ok for one in ids)
        except requests.ConnectionError as error:
            raise ArchiveAwayError(f"the archive does not answer ({type(error).__name__})") from None
        except (requests.RequestException, ValueError, LookupError, TypeError, AttributeError):
            return False

    def _pages(self, search: Callable[..., list[JSON]], key: tuple[str, ...], known: JSON) -> list[JSON]:
        """All results of a search, page by page, since archives limit the number of results in one answer."""
        found: dict[tuple[Any, ...], JSON] = {}
        offset = 0
        with _one_line():
            while len(found) < MAX_RESULTS:
                page = search(limit=PAGE, offset=offset)
                before = len(found)
                for item in page:
                    uids = tuple(value_of(item, tag) or known.get(tag) for tag in key)
                    if all(map(is_uid, uids)):
                        found.setdefault(uids, item)
                offset += len(page)
                if not page or len(found) == before:  # nothing new: the archive ignores the offset
                    break
        return list(found.values())


class _BoundedSession(requests.Session):
    """Session of requests with limits of time and bytes that does not follow redirects.

    Args:
        limit: bytes of an answer, unless a request gives another limit.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.trust_env = False  # no proxy and no password from the environment

    def request(self, method: Any, url: Any, *args: Any, limit: int | None = None, **kwargs: Any) -> requests.Response:
        kwargs |= {"timeout": (CONNECT_SECONDS, READ_SECONDS), "stream": True, "allow_redirects": False}
        deadline = time.monotonic() + TOTAL_SECONDS
        response = super().request(method, url, *args, **kwargs)
        with response:
            if response.is_redirect:
                raise ArchiveAwayError("the archive answers with a redirect")
            chunks, size, most = [], 0, limit or self.limit
            for chunk in response.iter_content(1 << 16):
                size += len(chunk)
                if size > most:
                    raise TooLargeError(f"the archive answers with more than {most} bytes")
                if time.monotonic() > deadline:
                    raise ArchiveAwayError("the archive takes too long to answer")
                chunks.append(chunk)
        response._content = b"".join(chunks)  # where requests keeps the content of an answer
        return response


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 500
        if status in (404, 410):
            raise UnknownError("the archive has no such object") from None
        if status in (401, 403) or status >= 500 or status in (408, 429):
            raise ArchiveAwayError(f"the archive does not serve this server (status {status})") from None
        raise InputError(f"the archive refuses a request (status {status})") from None
    except requests.RequestException as error:
        raise ArchiveAwayError(f"the archive does not answer ({type(error).__name__})") from None
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ArchiveAwayError(f"the archive answers with something unexpected ({type(error).__name__})") from None


def _first_part(body: bytes, content_type: str) -> bytes:
    """The one part of a multipart/related message; some archives send the part alone."""
    if not content_type.lower().startswith("multipart/"):
        return body
    found = re.search(r'boundary="?([^";,]+)"?', content_type, re.IGNORECASE)
    if found is None:
        raise ValueError("no boundary")
    boundary = b"--" + found[1].strip().encode("latin-1")
    start = body.index(b"\r\n\r\n", body.index(boundary)) + 4
    return body[start : body.index(b"\r\n" + boundary, start)]
