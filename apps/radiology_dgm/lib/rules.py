"""Who may do what: the four roles, and a table of all routes. A route that has no line in it cannot be made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What a user may do; each role may do what the roles before it may."""

    NOBODY = 0
    READER = 1  # look at radiographs, run models, submit labels of one's own
    REVIEWER = 2  # see and export the labels of all readers
    ANNOTATOR_ADMIN = 3  # add radiographs, import and delete labels, run batches and trainings
    ADMINISTRATOR = 4  # choose versions, delete radiographs and results, read the audit log

    @property
    def label(self) -> str:
        """Name for people."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True)
class Rule:
    """Who may use a route, and what the audit log says about it.

    Attributes:
        role: lowest role; NOBODY needs no login.
        event: "view", "label", "change", "delete" or "export"; None where no radiograph or label is concerned.
    """

    role: Role
    event: str | None = None


PUBLIC = Rule(Role.NOBODY)
_READER = Rule(Role.READER)
_VIEW = Rule(Role.READER, "view")
_LABEL = Rule(Role.READER, "label")
_MANAGE = Rule(Role.ANNOTATOR_ADMIN, "change")

RULES: dict[str, Rule] = {
    # pages, and what tells nothing
    "GET /": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /dgm/page.css": PUBLIC,
    "GET /ohif": PUBLIC,
    "GET /ohif/{path:path}": PUBLIC,
    "GET /auth": PUBLIC,
    "GET /auth/": PUBLIC,
    "POST /auth/token": PUBLIC,
    "GET /auth/token/valid": _READER,
    "GET /login": PUBLIC,
    "GET /login/callback": PUBLIC,
    "POST /logout": PUBLIC,
    # MONAI Label's clients
    "GET /openapi.json": _READER,
    "GET /info": _READER,
    "GET /info/": _READER,
    "GET /datastore": _READER,
    "GET /datastore/": _READER,
    "GET /datastore/image": _VIEW,
    "GET /datastore/image/info": _VIEW,
    "GET /datastore/label": _VIEW,
    "GET /datastore/label/info": _VIEW,
    "PUT /datastore": _MANAGE,
    "PUT /datastore/": _MANAGE,
    "PUT /datastore/image": _MANAGE,
    "PUT /datastore/label": _LABEL,
    "POST /infer/{model}": _VIEW,
    "POST /activelearning/{strategy}": _READER,
    "GET /batch/infer": _READER,
    "GET /batch/infer/": _READER,
    "POST /batch/infer/{model}": _MANAGE,
    "DELETE /batch/infer": _MANAGE,
    "DELETE /batch/infer/": _MANAGE,
    "GET /train": _READER,
    "GET /train/": _READER,
    "POST /train/{model}": _MANAGE,
    "DELETE /train": _MANAGE,
    "DELETE /train/": _MANAGE,
    # our own
    "GET /dgm/state": _READER,
    "GET /dgm/boxes": _VIEW,
    "POST /dgm/boxes": _VIEW,
    "PUT /dgm/boxes": _LABEL,
    "POST /dgm/next": _READER,
    "PUT /dgm/reservation": _READER,
    "DELETE /dgm/reservation": _READER,
    "GET /dgm/numbers": _VIEW,
    "GET /dgm/layers/{name}": _VIEW,
    "POST /dgm/worklist": _READER,
    "GET /dgm/readings": Rule(Role.REVIEWER, "view"),
    "PUT /dgm/adjudication": Rule(Role.REVIEWER, "label"),
    "GET /dgm/agreement": Rule(Role.REVIEWER, "export"),
    "GET /agreement": Rule(Role.REVIEWER, "export"),
    "GET /dgm/maps/{name}": _VIEW,
    "GET /dgm/studies/{study}": _VIEW,
    "GET /dgm/archive": _READER,
    "GET /dgm/failures": Rule(Role.ADMINISTRATOR, "view"),
    "POST /dgm/failures": Rule(Role.ADMINISTRATOR, "change"),
    "DELETE /dgm/cache": Rule(Role.ADMINISTRATOR, "delete"),
    "GET /dgm/labels": Rule(Role.REVIEWER, "export"),
    "PUT /dgm/labels": _MANAGE,
    "GET /dgm/versions": _READER,
    "GET /dgm/versions/": _READER,
    "POST /dgm/versions/{number}": Rule(Role.ADMINISTRATOR, "change"),
    "GET /health": PUBLIC,
    "GET /metrics": PUBLIC,  # to this machine; others have to be administrators
    "GET /dgm/admin": Rule(Role.ADMINISTRATOR),
    "POST /dgm/admin/retry": Rule(Role.ADMINISTRATOR, "change"),
    "POST /dgm/admin/cache": Rule(Role.ADMINISTRATOR, "delete"),
    "GET /dgm/audit": Rule(Role.ADMINISTRATOR, "view"),
    "DELETE /datastore/label": Rule(Role.ANNOTATOR_ADMIN, "delete"),
    "DELETE /datastore/image": Rule(Role.ADMINISTRATOR, "delete"),
    "DELETE /dgm/studies/{study}/results": Rule(Role.ADMINISTRATOR, "delete"),
    "GET /dicom-web/{path:path}": _VIEW,
    "POST /dicom-web/{path:path}": _LABEL,
}


def rules_of(path: str, methods: set[str]) -> Rule:
    """The rule of a route; HEAD goes with GET.

    Raises:
        KeyError: there is none, or the route's methods have several.
    """
    found = {RULES[f"{method} {path}"] for method in methods - {"HEAD"}}
    if len(found) != 1:
        raise KeyError(f"{path}: expected one rule for {sorted(methods)} in RULES")
    return found.pop()
