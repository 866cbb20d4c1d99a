"""Weights as they ship: the same network within half precision, with its origin, and never too large."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from monai_dgm.engines import shipping
from monai_dgm.engines.residues.frozen_decomposer import load_decomposer
from monai_dgm.engines.shipping import half_precision, main, ship_weights
from monai_dgm.engines.weights import find_weights, save_weights
from monai_dgm.errors import InputError
from tests.decomposers import write_decomposer


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.csv"
    path.write_text("image\n")
    return path


def test_shipped_weights_are_found_and_predict_as_the_trained_ones(tmp_path: Path, manifest: Path) -> None:
    trained = write_decomposer(tmp_path / "models", fold=3)
    told = ship_weights(trained, tmp_path / "models" / "shipped", manifest, "train it", "CC0", burden_threshold=0.2)
    found = Path(find_weights(tmp_path / "models"))
    assert found.stat().st_size < 0.6 * trained.stat().st_size
    image = torch.rand(2, 1, 32, 32) * 2 - 1
    torch.testing.assert_close(load_decomposer(found)(image), load_decomposer(trained)(image), atol=0.01, rtol=0.01)
    assert told == json.loads(found.with_suffix(".json").read_text())
    assert told["fold"] == 3 and told["burden_threshold"] == 0.2
    assert told["shipped"]["sha256"] == hashlib.sha256(found.read_bytes()).hexdigest()
    assert told["shipped"]["manifest_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()


def test_the_same_weights_give_the_same_file(tmp_path: Path, manifest: Path) -> None:
    trained = write_decomposer(tmp_path / "models")
    sums = {ship_weights(trained, tmp_path / n, manifest, "", "")["shipped"]["sha256"] for n in ("a", "b")}
    assert len(sums) == 1


def test_weights_in_channels_last_ship_too(tmp_path: Path, manifest: Path) -> None:
    trained = write_decomposer(tmp_path / "models")
    save_weights(load_decomposer(trained).to(memory_format=torch.channels_last).state_dict(), trained)
    ship_weights(trained, tmp_path / "shipped", manifest, "", "")
    image = torch.zeros(1, 1, 32, 32)
    (tmp_path / "shipped" / "model.json").write_bytes(trained.with_suffix(".json").read_bytes())
    shipped = load_decomposer(tmp_path / "shipped" / "model.safetensors")
    torch.testing.assert_close(shipped(image), load_decomposer(trained)(image), atol=0.01, rtol=0.01)


def test_the_chest_reference_goes_along(tmp_path: Path, manifest: Path) -> None:
    trained = write_decomposer(tmp_path / "models")
    (tmp_path / "models" / "chest.json").write_text("{}")
    ship_weights(trained, tmp_path / "shipped", manifest, "", "")
    assert (tmp_path / "shipped" / "chest.json").read_text() == "{}"


def test_values_that_half_precision_cannot_hold_are_refused() -> None:
    kept = half_precision({"count": torch.tensor(100_000), "weight": torch.ones(2)})
    assert kept["count"].item() == 100_000 and kept["weight"].dtype == torch.float16
    with pytest.raises(InputError, match="variance: expected finite values within"):
        half_precision({"variance": torch.tensor([1e6])})


def test_too_large_weights_leave_nothing(tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = write_decomposer(tmp_path / "models")
    monkeypatch.setattr(shipping, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="expected at most 1000 bytes"):
        ship_weights(trained, tmp_path / "shipped", manifest, "", "")
    assert not (tmp_path / "shipped").exists()
    with pytest.raises(InputError, match="none.csv: expected a file"):
        ship_weights(trained, tmp_path / "shipped", tmp_path / "none.csv", "", "")


def told_by(trained: Path, target: Path, manifest: Path, *others: str) -> list[str]:
    return [str(trained), str(target), "--manifest", str(manifest), "--command", "c", "--licence", "CC0", *others]


def test_the_command_ships_and_prints_the_note(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, target = write_decomposer(tmp_path / "models", fold=3), tmp_path / "shipped"
    others = {"fold": 4, "command": "a setting as any other"}
    assert main(told_by(trained, target, manifest, "--settings", json.dumps(others))) == 0
    told = json.loads((target / "model.json").read_text())
    assert json.loads(capsys.readouterr().out) == told["shipped"] and told["shipped"]["command"] == "c"
    assert {name: told[name] for name in others} == others


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no weights", r"model\.pt: expected a file that can be read"),
        ("damaged weights", r"model\.pt: expected a state dict"),
        ("a whole training", r"model\.pt: expected a state dict, got something else than tensors by name"),
        ("weights beyond float16", "weight: expected finite values"),
        ("no settings", r"model\.json: expected a file that can be read"),
        ("damaged settings", r"model\.json: expected settings that JSON can hold"),
        ("a list of settings", r"model\.json: expected settings that JSON can hold, got: a JSON list"),
        ("no manifest", r"manifest\.csv: expected a file that can be read"),
        ("damaged option", "settings: expected a JSON object"),
        ("a number as option", "settings: expected a JSON object, got: a JSON int"),
        ("an option beyond JSON", r"model\.json: expected settings that JSON can hold"),
        ("a file as target", r"shipped/model\.safetensors: expected a folder with room"),
    ],
)
def test_what_cannot_be_shipped_is_one_line_and_leaves_nothing(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str], fault: str, message: str
) -> None:
    trained, target, others = write_decomposer(tmp_path / "models"), tmp_path / "shipped", []
    settings = trained.with_suffix(".json")
    if fault.startswith("no "):
        {"no weights": trained, "no settings": settings, "no manifest": manifest}[fault].unlink()
    elif fault == "damaged weights":
        trained.write_bytes(trained.read_bytes()[:1000])
    elif fault == "a whole training":
        torch.save({"network": {"weight": torch.ones(1)}, "epoch": 1}, trained)
    elif fault == "weights beyond float16":
        save_weights({"weight": torch.tensor([1e6])}, trained)
    elif fault in ("damaged settings", "a list of settings"):
        settings.write_text("{" if fault == "damaged settings" else "[]")
    elif fault == "a file as target":
        target.write_text("")
    else:
        values = {"damaged option": "{", "a number as option": "3", "an option beyond JSON": '{"a": 1e999}'}
        others = ["--settings", values[fault]]
    assert main(told_by(trained, target, manifest, *others)) == 2
    said = capsys.readouterr()
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", said.err) and not said.out
    assert not target.is_dir()


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_process_ends_with_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["shipping", *told_by(tmp_path / "a.pt", tmp_path, tmp_path)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("monai_dgm.engines.shipping", run_name="__main__")
    assert ended.value.code == 2 and "a.pt: expected a file" in capsys.readouterr().err
