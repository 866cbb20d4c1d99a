from __future__ import annotations

import pytest

from monai_dgm.labelling.server import rescan


def test_a_look_is_due_at_first_and_then_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(rescan.time, "monotonic", lambda: now)
    again = rescan.Rescan()
    assert again.due and again.due
    again.done()
    assert not again.due
    now = rescan.RESCAN_SECONDS - 0.1
    assert not again.due
    now = rescan.RESCAN_SECONDS
    assert again.due
    again.done()
    assert not again.due
