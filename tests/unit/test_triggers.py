"""Each part fires exactly once: on a belt that speeds up and stops, laid down, and on a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.triggers import every, motion, presence
from edge.triggers._belt import Belt
from qc.errors import DataError, FaultError
from qc.imageio import read_image, write_png
from qc.plugins import names, resolve
from qc.types import Frame, Image, utc_now
from training.datasets.drawn import KINDS, draw_part, make_lot

VIEW = 240
HEIGHT = 120
PLAIN = {"http": {"port": 0}}


def frame(image: Image | None, at_s: float = 0.0) -> Frame:
    return Frame(
        image=image,
        frame_id="f",
        source_id="cam",
        captured_at=utc_now(),
        monotonic_ns=int(at_s * 1e9),
        fault=None if image is not None else "the cable is out",
    )


def belt(parts: Sequence[Image], gaps: Sequence[int], seed: int = 0) -> tuple[Image, list[int]]:
    """A strip of belt with parts on it, and the x of each part's middle."""
    length = VIEW + sum(p.shape[1] for p in parts) + sum(gaps) + VIEW
    rng = np.random.default_rng(seed)
    strip = rng.normal(40, 5, (HEIGHT, length, 3)).clip(0, 255).astype(np.uint8)
    x, middles = VIEW, []
    for part, gap in zip(parts, gaps, strict=True):
        height, width = part.shape[:2]
        top = (HEIGHT - height) // 2
        strip[top : top + height, x : x + width] = part
        middles.append(x + width // 2)
        x += width + gap
    return strip, middles


def fired_at(trigger: presence.Trigger, strip: Image, offsets: Sequence[int]) -> list[int]:
    """Middle of the view, on the strip, of each frame that fired; the belt moves to the right."""
    found = []
    for offset in offsets:
        left = strip.shape[1] - VIEW - offset
        if trigger.fires(frame(strip[:, left : left + VIEW])):
            found.append(left + VIEW // 2)
    return found


def check_each_once(fired: list[int], middles: list[int], within: int) -> None:
    assert len(fired) == len(middles)
    for x, middle in zip(fired, reversed(middles), strict=True):
        assert -within <= middle - x <= within, (x, middle)


def moves(length: int, seed: int, fastest: int) -> list[int]:
    """Offsets of a belt that starts, runs unevenly, stops now and then, and runs to the end."""
    rng = np.random.default_rng(seed)
    offsets, speed = [0] * 6, fastest / 2
    while offsets[-1] < length - VIEW:
        speed = 0.0 if rng.random() < 0.04 else min(fastest, max(2, speed + rng.normal(0, 2)))
        for _ in range(1 if speed else 5):
            offsets.append(min(length - VIEW, offsets[-1] + round(speed)))
        speed = speed or fastest / 3
    return [*offsets, *[offsets[-1]] * 3]


def drawn(count: int, seed: int) -> list[Image]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(48, 100, (count, 2))
    lot = make_lot(seed, 0)
    return [
        draw_part(rng, KINDS[i % len(KINDS)], lot, (int(h), int(w)))[0]
        for i, (h, w) in enumerate(sizes)
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fastest", [8, 24])
def test_each_part_on_a_belt_fires_once_at_the_middle(seed: int, fastest: int) -> None:
    gaps = np.random.default_rng(seed).integers(15, 200, 14).tolist()
    strip, middles = belt(drawn(14, seed), gaps, seed)
    fired = fired_at(presence.Trigger(), strip, moves(strip.shape[1], seed, fastest))
    check_each_once(fired, middles, within=fastest + 8)


def _tiles() -> list[Path]:
    root = Path(os.environ.get("QC_DATA_ROOT", Path(__file__).parents[3] / "shared" / "data"))
    return sorted((root / "magnetic_tile").rglob("*.jpg"))


@pytest.mark.skipif(
    not _tiles(), reason="the set magnetic_tile is not here; QC_DATA_ROOT names its folder"
)
def test_each_real_tile_fires_once() -> None:
    chosen = np.random.default_rng(1).choice(len(_tiles()), 25, replace=False)
    tiles = []
    for i in chosen:
        image = read_image(_tiles()[i])
        scale = 90 / max(image.shape[:2])
        tiles.append(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    strip, middles = belt(tiles, np.random.default_rng(2).integers(20, 160, 25).tolist())
    fired = fired_at(presence.Trigger(), strip, moves(strip.shape[1], 3, 16))
    check_each_once(fired, middles, within=24)


@pytest.mark.parametrize("way", ["right", "left", "down", "up"])
def test_parts_may_pass_in_any_direction(way: str) -> None:
    strip, middles = belt(drawn(5, 9), [60] * 5)
    trigger = presence.Trigger(moves=way, at=0.4)  # type: ignore[arg-type]
    fired = 0
    for offset in range(0, strip.shape[1] - VIEW, 9):
        left = strip.shape[1] - VIEW - offset
        view = strip[:, left : left + VIEW]
        view = view if way in ("right", "down") else view[:, ::-1]
        fired += trigger.fires(frame(view if way in ("right", "left") else view.transpose(1, 0, 2)))
    assert fired == len(middles)


def test_light_that_drifts_fires_nothing() -> None:
    trigger = presence.Trigger()
    rng = np.random.default_rng(0)
    for n in range(200):
        image = rng.normal(40 + n / 2.5, 5, (HEIGHT, VIEW, 3)).clip(0, 255).astype(np.uint8)
        assert not trigger.fires(frame(image))


def test_a_part_that_was_too_fast_is_a_fault_and_not_a_gap() -> None:
    follower = Belt(at=0.5)
    assert not follower.is_due([(0.05, 0.15), (0.3, 0.4)])
    with pytest.raises(FaultError, match=r"a part passed and no frame.*a step of 60% of the view"):
        follower.is_due([(0.65, 0.75)])  # the hind one came in time, the one before it did not
    assert not follower.is_due([]), "nothing is told twice"


def test_a_part_that_flickers_is_still_one() -> None:
    follower = Belt(at=0.5)
    ways = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    seen = [[] if n in (3, 5, 6) else [(w, w + 0.2)] for n, w in enumerate(ways)]
    assert [follower.is_due(boxes) for boxes in seen] == [n == 4 for n in range(9)]


def test_the_empty_place_may_be_a_picture(tmp_path: Path) -> None:
    strip, middles = belt(drawn(3, 1), [40] * 3)
    write_png(tmp_path / "empty.png", strip[:, :VIEW])
    trigger = presence.Trigger(background=tmp_path / "empty.png")
    fired = fired_at(trigger, strip, range(120, strip.shape[1] - VIEW, 8))
    check_each_once(fired, middles, within=16)
    with pytest.raises(DataError, match="not the shape of the picture of the empty place"):
        trigger.fires(frame(strip[:, : VIEW // 2]))
    with pytest.raises(DataError, match=r"gone\.png"):
        presence.Trigger(background=tmp_path / "gone.png")


def _laid_down(seed: int) -> list[tuple[Image, str]]:
    """Frames at 20 a second: a hand lays a part down, takes it away, and lays down the next."""
    rng = np.random.default_rng(seed)
    frames: list[tuple[Image, str]] = []

    def show(kind: str, part: Image | None, hand_x: int | None, count: int = 1) -> None:
        for _ in range(count):
            image = rng.normal(60, 4, (HEIGHT, VIEW, 3)).clip(0, 255).astype(np.uint8)
            if part is not None:
                image[30 : 30 + part.shape[0], 90 : 90 + part.shape[1]] = part
            if hand_x is not None:
                cv2.rectangle(image, (hand_x, 0), (hand_x + 60, 80), (200, 160, 140), cv2.FILLED)
            frames.append((image, kind))

    show("empty", None, None, 8)
    for number, part in enumerate(p[:85] for p in drawn(4, seed)):
        for x in range(-60, 120, 30):
            show("moving", None, x)
        for x in range(120, -90, -30):
            show("moving", part, x)
        show(f"part {number}", part, None, 12)
        for x in range(-60, 120, 30):
            show("moving", part, x)
        for x in range(120, -90, -30):
            show("moving", None, x)
        show("empty", None, None, 10)
    return frames


def test_a_part_laid_down_fires_once_at_rest_and_the_empty_table_never() -> None:
    trigger = presence.Trigger(when="rests")
    fired = [
        kind for n, (image, kind) in enumerate(_laid_down(3)) if trigger.fires(frame(image, n / 20))
    ]
    assert fired == [f"part {n}" for n in range(4)]


def test_motion_fires_once_for_each_rest() -> None:
    trigger = motion.Trigger()
    fired = [
        kind for n, (image, kind) in enumerate(_laid_down(3)) if trigger.fires(frame(image, n / 20))
    ]
    assert fired == ["empty", *(k for n in range(4) for k in (f"part {n}", "empty"))]


@pytest.mark.parametrize("name", names("trigger"))
def test_a_frame_without_a_picture_does_not_stop_a_trigger(name: str) -> None:
    trigger = resolve("trigger", name).Trigger(**PLAIN.get(name, {}))
    try:
        assert trigger.fires(frame(None)) is isinstance(trigger, every.Trigger)
    finally:
        getattr(trigger, "close", lambda: None)()
