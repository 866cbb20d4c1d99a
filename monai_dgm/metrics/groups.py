"""Parts of a test set that have figures of their own: sources, views, sexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

__all__ = ["GROUPED_BY", "UNKNOWN", "groups_of", "origin_of"]

GROUPED_BY = ("source", "view", "sex")
UNKNOWN = "unknown"

T = TypeVar("T")


def origin_of(item: Mapping[str, Any]) -> dict[str, str]:
    """ "source", "view" and "sex" of an entry of a datalist; "unknown" where it does not say."""
    return {name: str(item.get(name) or UNKNOWN) for name in GROUPED_BY}


def groups_of(
    records: Sequence[T],
    source_groups: Mapping[str, Sequence[str]] | None = None,
    origins: Sequence[Mapping[str, str]] | None = None,
    by: Sequence[str] = GROUPED_BY,
) -> dict[str, list[T]]:
    """Records by group: "all", then "source:<name>", "view:<name>", "sex:<name>" where there are several.

    Args:
        records: of an evaluation.
        source_groups: further groups "sources:<name>", by name the sources in each; left out where no record is in one.
        origins: of each record, from :func:`origin_of`; by default its attributes of the same names.
        by: of "source", "view" and "sex".
    """
    if origins is None:
        origins = [{name: getattr(record, name) for name in GROUPED_BY if hasattr(record, name)} for record in records]
    pairs = list(zip(records, origins, strict=True))
    groups = {"all": list(records)}
    for kind in by:
        known = sorted({origin[kind] for _, origin in pairs if origin.get(kind, UNKNOWN) != UNKNOWN})
        if kind == "source" and any(origin.get(kind) == UNKNOWN for _, origin in pairs):
            known.append(UNKNOWN)  # a source without a name is one, too
        if len(known) > 1:
            groups.update({f"{kind}:{name}": [r for r, o in pairs if o.get(kind) == name] for name in known})
    for name, members in (source_groups or {}).items():
        if kept := [record for record, origin in pairs if origin.get("source") in members]:
            groups[f"sources:{name}"] = kept
    return groups
