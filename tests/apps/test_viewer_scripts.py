"""Scripts of the viewer's extension under Node: a closed case is given back, and the end of a login loses no box."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def found(repository: Path) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed (apt-get install nodejs)")
    words = [node, str(Path(__file__).with_name("viewer_scripts.js")), str(repository / "apps/radiology_dgm/ohif")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_closed_case_is_given_back_once_with_the_present_token(found: Any) -> None:
    opened, *_, released = found["release"]
    assert opened == {"request": "POST /dgm/boxes?image=x", "token": "first", "keepalive": False}
    assert released == {"request": "DELETE /dgm/reservation?image=x", "token": "renewed", "keepalive": True}
    assert [one["request"].split()[0] for one in found["release"]].count("DELETE") == 1


def test_a_case_stays_reserved_while_its_reader_does_something(found: Any) -> None:
    # at most once in 30 seconds; not without an action, and not after it was submitted
    assert found["prolonged"] == ["PUT /dgm/reservation?image=x"] * 3


def test_where_a_login_ends_the_reader_is_asked_and_boxes_wait(found: Any) -> None:
    stay = found["stay"]
    assert stay["refused"] == 401 and stay["asked"] == ["Your login has ended"]
    assert (stay["logins"], stay["leaving"], stay["kept"]) == (0, False, {})
    assert found["login"] == {"asked": 2, "logins": 1, "leaving": True}


def test_a_request_with_a_token_that_has_just_ended_is_sent_again_with_the_renewed_one(found: Any) -> None:
    request = "PUT /dgm/boxes?image=x"
    assert found["slept"] == {"kept": "kept", "asked": [], "requests": [[request, "first"], [request, "renewed"]]}


def test_boxes_come_back_to_the_user_who_changed_them_and_once(found: Any) -> None:
    other, same, later = found["again"]
    assert other == {"rectangles": found["boxes"], "unsaved": False}
    assert same == {"rectangles": found["moved"], "unsaved": True}
    assert later == {"rectangles": found["boxes"], "unsaved": False}


def test_where_users_do_not_log_in_nobody_is_asked(found: Any) -> None:
    assert found["without"] == {"asked": [], "problem": "no"}
