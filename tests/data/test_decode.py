"""Decoding: the same in one process and in several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_dgm.data import decode as decode_module
from monai_dgm.data.decode import Settings, decode_file, decode_files, to_float32, to_uint16

from .conftest import write_image


def test_sixteen_bits_round_trip() -> None:
    values = np.linspace(-1, 1, 10_001, dtype=np.float32)
    assert np.abs(to_float32(to_uint16(values)) - values).max() <= 1.01 / 65535
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_uint16(to_float32(every)), every)
    assert to_float32(every)[0] == -1 and to_float32(every)[-1] == 1


def test_reasons_are_returned_not_raised(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    result = decode_file(str(tmp_path / "a.png"), Settings(16))
    assert result.image is None and result.reason is not None and result.reason.startswith(str(tmp_path / "a.png"))


def test_order_and_content_do_not_depend_on_the_processes(tmp_path: Path) -> None:
    paths = [str(write_image(tmp_path / f"{number}.png", number)) for number in range(70)]
    (tmp_path / "33.png").write_bytes(b"no image")
    alone = list(decode_files(paths, Settings(16), num_workers=0))
    several = list(decode_files(paths, Settings(16), num_workers=2))
    assert len(alone) == len(several) == 70
    for first, second in zip(alone, several, strict=True):
        assert first.geometry == second.geometry and first.reason == second.reason
        assert (first.image is None) == (second.image is None)
        assert first.image is None or np.array_equal(first.image, second.image)
    assert [result.reason is None for result in alone].index(False) == 33


def test_processes_start_only_when_they_pay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(write_image(tmp_path / "a.png", 0))] * 80
    started: list[int] = []

    def parallel(rest: list[str], settings: Settings, workers: int) -> list[object]:
        started.append(len(rest))
        return [decode_file(path, settings) for path in rest]

    monkeypatch.setattr(decode_module, "_decode_parallel", parallel)
    monkeypatch.setattr(decode_module, "_available_cpus", lambda: 4)
    assert len(list(decode_files(paths, Settings(16)))) == 80 and started == []  # quick: no processes
    monkeypatch.setattr(decode_module, "PATIENCE_SECONDS", 0.0)
    assert len(list(decode_files(paths, Settings(16)))) == 80 and started == [64]
    assert len(list(decode_files(paths[:64], Settings(16), num_workers=4))) == 64 and started == [64]  # too few
