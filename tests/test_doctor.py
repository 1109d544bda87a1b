"""The doctor's line on the embedded model; the others are in test_cli.py."""

import builtins
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiltyard.doctor import doctor
from tiltyard.errors import TiltyardError
from tiltyard.models import embedded as package

HEADER = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
WHOLE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(8)


@pytest.fixture
def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[bytes], str]:
    """The line for weights of these bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def of(weights: bytes) -> str:
        folder = tmp_path / "weights"
        folder.mkdir()
        for name in package.NEEDED:
            (folder / name).write_bytes(weights if name.endswith("safetensors") else b"{}")
        monkeypatch.setattr(package, "FOLDER", folder)
        with contextlib.suppress(TiltyardError):  # it raises where a line says "broken"
            doctor([])
        [found] = [found for found in capsys.readouterr().out.splitlines() if "embedded model" in found]
        return found

    return of


def test_whole_weights_are_ok(line: Callable[[bytes], str]) -> None:
    assert line(WHOLE).startswith("ok ")


@pytest.mark.parametrize("damaged", [WHOLE[:-1], WHOLE[:20], b"", b"version https://git-lfs.github.com/spec"])
def test_damaged_weights_are_broken(line: Callable[[bytes], str], damaged: bytes) -> None:
    found = line(damaged)
    assert found.startswith("broken ")
    assert "model.safetensors" in found
    assert found.endswith("reinstall tiltyard")


def test_a_package_that_is_not_there_has_a_remedy(
    line: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without_safetensors(name: str, *rest: Any, **options: Any) -> Any:
        if name == "safetensors":
            raise ModuleNotFoundError("No module named 'safetensors'")
        return original(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_safetensors)
    found = line(WHOLE)
    assert found.startswith("broken ")
    assert "No module named 'safetensors'" in found
    assert "pip install" in found
