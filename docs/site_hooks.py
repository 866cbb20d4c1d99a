"""Hooks of the documentation site: documents that live beside the code become pages, and their links are kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
FOLDERS = ("bundles/*/docs/*.md", "apps/radiology_dgm/README.md")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the documents of the repository's other folders, and the licence that they link to."""
    found = {path: ROOT / path for path in ("LICENSE", *PAGES)}
    found |= {path.relative_to(ROOT).as_posix(): path for folder in FOLDERS for path in sorted(ROOT.glob(folder))}
    for name, path in found.items():
        text = path.read_text(encoding="utf-8")
        files.append(File.generated(config, PAGES.get(name, name), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between documents as they are in the repository become links between pages."""
    name = page.file.src_uri
    for source, target in PAGES.items():
        markdown = markdown.replace(f"]({source}", f"]({target}")
    if name in PAGES.values():
        return markdown.replace("](docs/", "](")
    if name.startswith(("apps/", "bundles/")):
        return re.sub(r"\]\(((?:\.\./)+)docs/", r"](\1", markdown)
    return markdown.replace("](../bundles/", "](bundles/").replace("](../apps/", "](apps/")
