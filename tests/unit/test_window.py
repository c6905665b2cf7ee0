"""`--show`: refused in words where there is no window, and fed with overlays where there is one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from unit.toy_line import inspection, seal, wait_until

import edge.window
from edge.window import Window, require_window
from qc.errors import FaultError

QT = "General\n  GUI:                           QT5\n    QT:  YES (ver 5.15.16 )\n"
NONE = "General\n  GUI:                           NONE\n"


def test_headless_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: NONE)
    with pytest.raises(FaultError, match=r"opencv-python in place of opencv-python-headless"):
        require_window()


def test_no_display_is_said_before_the_library_ends_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: QT)
    monkeypatch.setattr("edge.window.sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(FaultError, match="DISPLAY"):
        require_window()
    monkeypatch.setenv("DISPLAY", ":0")
    require_window()


def fake_windows(monkeypatch: pytest.MonkeyPatch, shown: dict[str, Any]) -> None:
    monkeypatch.setattr(edge.window, "require_window", lambda: None)
    monkeypatch.setattr(edge.window, "EVERY_MS", 1)
    monkeypatch.setattr(cv2, "imshow", lambda name, image: shown.update({name: image}))
    monkeypatch.setattr(cv2, "waitKey", lambda ms: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda name, what: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", shown.clear)


def test_last_part_is_shown_in_bgr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    fake_windows(monkeypatch, shown)
    bundle = seal(tmp_path / "toy.tflite")
    blue = np.zeros((400, 400, 3), np.uint8)
    blue[..., 2] = 200
    part = inspection(
        "i", image=blue, defect_class=None, bundle_id=bundle.manifest.bundle_id, defect_score=None
    )
    line = SimpleNamespace(bundle=bundle, latest=lambda source_id: part)
    with Window(line, ["cam"]):  # type: ignore[arg-type]
        wait_until(lambda: "cam" in shown)
        assert shown["cam"][0, 0].tolist() == [200, 0, 0]
    assert not shown  # closed at the end


def test_a_window_that_breaks_leaves_the_line_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_windows(monkeypatch, {})
    bundle = seal(tmp_path / "toy.tflite")
    part = inspection("i", bundle_id=bundle.manifest.bundle_id)

    def broken(name: str, image: Any) -> None:
        raise cv2.error("display gone")

    monkeypatch.setattr(cv2, "imshow", broken)
    line = SimpleNamespace(bundle=bundle, latest=lambda source_id: part)
    with Window(line, ["cam"]) as window:  # type: ignore[arg-type]
        wait_until(lambda: bool(window.problem))
    assert "display gone" in window.problem
