"""Griffe extension: Sphinx roles in docstrings (``:class:`x```) become plain code on the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|attr|data|mod):`~?([^`]+)`")


class Roles(griffe.Extension):
    """Replaces the roles of every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each module, class, function and attribute when it has been read."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r":(?:class|func|meth|attr|data|mod):`~?([^`]+)`", r"`\1`", obj.docstring.value
            )
