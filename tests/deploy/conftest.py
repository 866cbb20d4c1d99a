from __future__ import annotations

from tests.apps.conftest import decomposer_weights  # noqa: F401
