"""Which images have a row already, whatever their digests are."""

from __future__ import annotations

from pathlib import Path

from monai_dgm.archive.parts import ResultParts

from .test_compaction import row


def test_every_row_is_found_again(tmp_path: Path) -> None:
    # of 1,000 digests some four end in a zero byte
    contents = [f"{i:030x}00{i:032x}" for i in range(500)] + [f"{i:032x}{i:032x}" for i in range(500, 1000)]
    rows = [{**row(i), "content_sha256": content, "source_stamp": f"{i}:1"} for i, content in enumerate(contents)]
    parts = ResultParts(tmp_path)
    with parts.writer():
        parts.store(rows)
    done = parts.done(rows[0]["settings_sha256"])
    assert len(done) == 1000
    for one in rows:
        assert done.has_stamp(one["identifier"], one["source_stamp"]), one
        assert done.has_image(one["identifier"], one["content_sha256"]), one
        assert done.has_content(one["content_sha256"]), one
    assert not done.has_content("f" * 64) and not done.has_stamp("0", "another")
