"""Which radiographs of an archive are asked for. What does not match is neither listed, nor fetched, nor analysed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_client import value_of

__all__ = ["MODALITIES", "WantedImages"]

MODALITIES = ("CR", "DX", "RG")
_MODALITY = re.compile(r"[A-Z0-9]{1,16}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}|[0-9A-Fa-f]{8}")
_RESERVED = ("limit", "offset", "includefield", "fuzzymatching", "modality", "studyinstanceuid", "seriesinstanceuid")


@dataclass(frozen=True)
class WantedImages:
    """Conditions that a radiograph fulfils; all of them together.

    Attributes:
        modalities: values of Modality (0008,0060).
        since: first study date, YYYYMMDD; empty for any.
        body_parts: values of Body Part Examined (0018,0015), in capitals; empty for any. With a value here, images
            that do not say their body part do not match.
        query: further matching keys of QIDO-RS by keyword or tag, such as ("StudyDescription", "*THORAX*").
        everything: it was said that all radiographs are meant.
    """

    modalities: tuple[str, ...] = MODALITIES
    since: str = ""
    body_parts: tuple[str, ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    everything: bool = False

    @classmethod
    def of(cls, modalities: str = "", since: str = "", body_part: str = "", query: str = "") -> WantedImages:
        """From text.

        Args:
            modalities, body_part: values, separated by commas.
            since: a date, 2026-11-27 or 20261127, a number of days before today, "30d", or "all".
            query: as in an address, "StudyDescription=*THORAX*&InstitutionName=North".

        Raises:
            InputError: text that is none of these.
        """
        names = tuple(part.strip().upper() for part in modalities.split(",") if part.strip()) or MODALITIES
        if not all(_MODALITY.fullmatch(name) for name in names):
            raise InputError("modalities: expected values such as CR,DX, got another")
        parts = tuple(part.strip().upper() for part in body_part.split(",") if part.strip())
        if not all(part.isprintable() and len(part) <= 16 for part in parts):
            raise InputError("body_part: expected values such as CHEST,THORAX, got another")
        everything = since.strip().lower() == "all"
        return cls(names, "" if everything else _first_date(since), parts, _matching_keys(query), everything)

    @property
    def narrowed(self) -> bool:
        """Whether more than the modality is given."""
        return bool(self.since or self.body_parts or self.query or self.everything)

    def filters(self, modality: str) -> dict[str, str]:
        """The conditions that the archive can check, for QIDO-RS."""
        dates = {"StudyDate": f"{self.since}-"} if self.since else {}
        return {"Modality": modality, **dates, **dict(self.query)}

    def fits(self, series: Mapping[str, Any], modality: str) -> bool:
        """Whether a series in DICOM JSON matches; archives that do not know a matching key answer with all series."""
        item = dict(series)
        if value_of(item, "00080060") not in (None, modality):
            return False
        date = value_of(item, "00080020")
        if self.since and date is not None and str(date) < self.since:
            return False
        return not self.body_parts or str(value_of(item, "00180015") or "").strip().upper() in self.body_parts


def _first_date(text: str) -> str:
    value = text.strip()
    days = re.fullmatch(r"([0-9]{1,5})d", value)
    if days:
        return (datetime.now() - timedelta(days=int(days[1]))).strftime("%Y%m%d")
    if not value:
        return ""
    try:
        return datetime.strptime(value.replace("-", ""), "%Y%m%d").strftime("%Y%m%d")
    except ValueError:
        raise InputError("since: expected a date such as 2026-11-27, a number of days such as 30d, or all") from None


def _matching_keys(query: str) -> tuple[tuple[str, str], ...]:
    try:
        pairs = parse_qsl(query, strict_parsing=True) if query.strip() else []
    except ValueError:
        pairs = [("", "")]
    if not all(_KEY.fullmatch(key) and key.lower() not in _RESERVED for key, _ in pairs):
        raise InputError("query: expected matching keys of QIDO-RS such as StudyDescription=*THORAX*, got another text")
    return tuple(pairs)
