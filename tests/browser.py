"""The browser that tests of pages run in: a Chromium of this machine, without a screen and without a GPU."""

from __future__ import annotations

import shutil

BROWSER_ARGUMENTS = [
    "--no-sandbox",
    *(f"--disable-{what}" for what in ("quic", "background-networking", "component-update", "sync")),
    "--no-first-run",
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    "--disable-gpu-rasterization",  # Debian turns it on: without a GPU it draws each page on SwiftShader
]


def find_browser() -> str | None:
    """A Chromium of this machine."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
