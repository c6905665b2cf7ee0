"""The overlay: a fixed scale, heat that leaves cold areas clear, a caption that covers nothing."""

from __future__ import annotations

import numpy as np
import pytest

from qc.errors import QCError
from qc.overlay import COLOURS, MIN_WIDTH, contour, draw_overlay, heat_rgba, scale_map
from qc.types import Verdict

COLD = np.zeros((7, 7), np.uint8)
SAID = {"verdict": "NG", "defect_class": "crack", "score": 0.9731, "part_id": "P-1"}


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3)).astype(np.uint8)


def one_hot(row: int, column: int, shape: tuple[int, int] = (4, 4), value: int = 255) -> np.ndarray:
    level = np.zeros(shape, np.uint8)
    level[row, column] = value
    return level


def test_scale_map_by_hand() -> None:
    evidence = np.array([[-1.0, 0.0, 1.0], [2.0, 3.0, 0.5]], np.float32)
    # lo -1, hi 3: a span of 4; 0 -> 1/4 -> 63.75, 1 -> 127.5 -> 128 (even), 2 -> 191.25,
    # 0.5 -> 3/8 -> 95.625
    expected = [[0, 64, 128], [191, 255, 96]]
    level = scale_map(evidence, -1.0, 3.0)
    assert level.dtype == np.uint8 and level.tolist() == expected


def test_scale_map_clips_and_ignores_the_range_of_the_frame() -> None:
    assert scale_map(np.array([[-9.0, 99.0]], np.float32), 0.0, 1.0).tolist() == [[0, 255]]
    # the hottest cell of a weak map stays weak: nothing is stretched to the frame's own maximum
    assert scale_map(np.array([[0.0, 0.2]], np.float32), 0.0, 1.0).tolist() == [[0, 51]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scale_map_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(QCError, match=r"not finite.*1 NaN or infinite"):
        scale_map(np.array([[0.0, bad]], np.float32), 0.0, 1.0)


@pytest.mark.parametrize(("lo", "hi"), [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_scale_map_refuses_a_wrong_range(lo: float, hi: float) -> None:
    with pytest.raises(QCError, match="range is wrong"):
        scale_map(np.zeros((2, 2), np.float32), lo, hi)


@pytest.mark.parametrize("shape", [(4,), (2, 2, 1), (0, 3)])
def test_scale_map_refuses_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(QCError, match=r"expected \(h, w\)"):
        scale_map(np.zeros(shape, np.float32), 0.0, 1.0)


@pytest.mark.parametrize(("level", "alpha"), [(0, 0), (32, 0), (33, 1), (128, 110), (255, 255)])
def test_alpha_of_constant_heat(level: int, alpha: int) -> None:
    # (128 - 32) * 255 / 223 = 109.8
    heat = heat_rgba(np.full((3, 5), level, np.uint8), (30, 40))
    assert heat.shape == (30, 40, 4) and heat.dtype == np.uint8
    assert (heat[..., 3] == alpha).all()
    assert len(np.unique(heat.reshape(-1, 4), axis=0)) == 1


def test_hot_is_yellow_and_brighter_at_every_step() -> None:
    """Viridis: the order of the levels is that of the brightness, which no eye mistakes."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256)
    colours = heat_rgba(levels, (1, 256))[0, :, :3].astype(float)
    luma = colours @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luma) > -1).all() and luma[-1] - luma[0] > 150
    hot = colours[-1]
    assert hot[0] > 3 * hot[2] and hot[1] > 3 * hot[2]


def test_heat_is_linear_between_cell_centres() -> None:
    # two cells over 8 pixels: centres at 1.5 and 5.5; pixel 2 is 1/8 of the way, pixel 3 is 3/8
    level = np.array([[60, 220]], np.uint8)
    alpha = heat_rgba(level, (1, 8))[0, :, 3].astype(int)
    levels = [60, 60, 80, 120, 160, 200, 220, 220]
    assert alpha.tolist() == [round((v - 32) * 255 / 223) for v in levels]


def test_contour_surrounds_the_one_hot_cell() -> None:
    # cell (1, 2) of 4 x 4 on 80 x 120 pixels spans y 20..40 and x 60..90; its centre is (30, 75)
    outlines = contour(one_hot(1, 2), (80, 120))
    assert len(outlines) == 1
    outline = outlines[0]
    assert outline.ndim == 2 and outline.shape[1] == 2 and outline.dtype.kind == "i"
    x, y = outline[:, 0], outline[:, 1]
    assert x.min() >= 59 and x.max() <= 90 and y.min() >= 19 and y.max() <= 40
    assert abs((x.min() + x.max()) / 2 - 74.5) <= 1 and abs((y.min() + y.max()) / 2 - 29.5) <= 1


def test_contour_is_at_the_threshold() -> None:
    level = np.full((2, 2), 128, np.uint8)
    assert len(contour(level, (20, 20), 128)) == 1
    assert contour(level, (20, 20), 129) == []


def test_contour_of_a_ring_has_a_hole() -> None:
    level = np.full((9, 9), 255, np.uint8)
    level[4, 4] = 0
    assert len(contour(level, (90, 90))) == 2


@pytest.mark.parametrize("threshold", [0, 256])
def test_contour_refuses_a_threshold_outside_the_scale(threshold: int) -> None:
    with pytest.raises(QCError, match="1 to 255"):
        contour(COLD, (9, 9), threshold)


@pytest.mark.parametrize(
    ("width", "height", "factor"),
    [(100, 80, 4), (80, 100, 5), (300, 220, 2), (220, 300, 2), (360, 50, 1), (1280, 960, 1)],
)
def test_caption_never_covers_the_picture(width: int, height: int, factor: int) -> None:
    image = picture(width, height)
    kept = image.copy()
    drawn = draw_overlay(image, COLD, opacity=0.0, **SAID)
    assert np.array_equal(image, kept)
    assert drawn.dtype == np.uint8 and drawn.shape[1] == width * factor >= MIN_WIDTH
    top = drawn[: height * factor]
    assert np.array_equal(top, image.repeat(factor, axis=0).repeat(factor, axis=1))
    assert drawn.shape[0] > height * factor + 60


@pytest.mark.parametrize(("width", "height"), [(3000, 2000), (2000, 3000)])
def test_large_picture_is_kept_and_its_caption_grows(width: int, height: int) -> None:
    image = np.full((height, width, 3), 90, np.uint8)
    drawn = draw_overlay(image, COLD, **SAID)
    assert drawn.shape[1] == width
    assert (drawn[:height] == 90).all()
    small = draw_overlay(image[:200, :400], COLD, **SAID)
    assert drawn.shape[0] - height > 1.8 * (small.shape[0] - 200)


def test_narrow_strip_is_padded_not_blown_up() -> None:
    image = picture(10, 2000)
    drawn = draw_overlay(image, COLD, opacity=0.0, **SAID)
    assert drawn.shape[1] == MIN_WIDTH and drawn.shape[0] < 2400
    assert np.array_equal(drawn[:2000, :10], image)


def test_heat_is_blended_by_opacity_and_alpha() -> None:
    image = np.full((400, 400, 3), 100, np.uint8)
    level = np.full((4, 4), 100, np.uint8)  # below the contour: heat alone
    colour = heat_rgba(level, (1, 1))[0, 0].astype(float)
    share = 0.5 * colour[3] / 255
    expected = 100 + share * (colour[:3] - 100)
    drawn = draw_overlay(image, level, opacity=0.5, **SAID)
    assert np.abs(drawn[:400].astype(float) - expected).max() <= 0.51  # rounding to a level


def test_outline_is_drawn_where_it_is_hot() -> None:
    image = np.full((400, 400, 3), 100, np.uint8)
    drawn = draw_overlay(image, one_hot(1, 2), opacity=0.0, **SAID)[:400]
    changed = np.argwhere((drawn != 100).any(axis=2))
    assert len(changed) > 50
    assert (changed.min(axis=0) >= [97, 197]).all() and (changed.max(axis=0) <= [203, 303]).all()
    assert (drawn == 255).all(axis=2).any()


@pytest.mark.parametrize("verdict", list(Verdict))
def test_chip_has_the_colour_of_its_verdict_only(verdict: Verdict) -> None:
    drawn = draw_overlay(picture(400, 100), None, **(SAID | {"verdict": verdict}))
    band = drawn[100:]
    area = {v: int((band == COLOURS[v]).all(axis=2).sum()) for v in Verdict}
    assert area[verdict] > 300
    assert sum(area.values()) == area[verdict]


def test_no_map_shows_no_colour_bar() -> None:
    image = picture(400, 300)
    without = draw_overlay(image, None, **SAID)
    with_map = draw_overlay(image, COLD, opacity=0.0, **SAID)
    assert np.array_equal(without[:300], image)
    assert without.shape == with_map.shape

    def hues(band: np.ndarray) -> int:
        last = band[-30:].astype(int)
        return int((last.max(axis=2) - last.min(axis=2) > 60).sum())

    assert hues(with_map[300:]) > 400 and hues(without[300:]) == 0


def band_of(part_id: str | None, **more: object) -> np.ndarray:
    asked = SAID | {"part_id": part_id} | more
    return draw_overlay(np.zeros((90, 360, 3), np.uint8), None, **asked)[90:]  # type: ignore[arg-type]


def test_long_id_keeps_both_ends() -> None:
    middle = "x" * 300
    shown = band_of(f"START{middle}END")
    assert shown.shape == band_of("P-1").shape
    assert (shown[:, -8:] == shown[0, 0]).all()  # nothing runs into the right margin
    assert np.array_equal(shown, band_of(f"START{middle}xxxxEND"))
    assert not np.array_equal(shown, band_of(f"START{middle}FIN"))
    assert not np.array_equal(shown, band_of(f"OTHER{middle}END"))


def test_what_the_font_lacks_becomes_a_question_mark() -> None:
    assert np.array_equal(band_of("Teil-Ä\n7"), band_of("Teil-??7"))
    assert not np.array_equal(band_of("Teil-Ä7"), band_of("Teil-7"))


def test_band_tells_score_class_and_note() -> None:
    plain = band_of("P")
    assert not np.array_equal(plain, band_of("P", score=0.5))
    assert not np.array_equal(plain, band_of("P", defect_class="hole"))
    assert not np.array_equal(plain, band_of(None))
    assert band_of("P", note="why").shape[0] > plain.shape[0]
    unmeasured = band_of("P", verdict="FAULT", defect_class=None, score=None)
    assert not np.array_equal(unmeasured, band_of("P", verdict="FAULT"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"verdict": "GOOD"}, "unknown verdict; expected OK, NG, REVIEW, FAULT; found 'GOOD'"),
        ({"score": 1.5}, "score is wrong; expected 0 to 1; found 1.5"),
        ({"score": float("nan")}, "score is wrong"),
        ({"opacity": -0.1}, "opacity is wrong"),
        ({"image": np.zeros((5, 5), np.uint8)}, r"expected \(H, W, 3\) uint8; found \(5, 5\)"),
        ({"image": np.zeros((5, 5, 3), np.float32)}, "found .*float32"),
        ({"image": np.zeros((0, 5, 3), np.uint8)}, "no overlay"),
        ({"level": np.zeros((4, 4), np.float32)}, "level map is wrong.*float32"),
        ({"level": np.zeros((4, 4, 1), np.uint8)}, "level map is wrong"),
    ],
)
def test_bad_input_is_refused(wrong: dict, message: str) -> None:
    asked = {"image": picture(50, 40), "level": COLD} | SAID | wrong
    with pytest.raises(QCError, match=message):
        draw_overlay(asked.pop("image"), asked.pop("level"), **asked)


def test_heat_refuses_an_empty_size() -> None:
    with pytest.raises(QCError, match=r"at least 1x1; found \(0, 9\)"):
        heat_rgba(COLD, (0, 9))


def test_blend_is_the_rounded_mixture_of_picture_and_heat() -> None:
    """Against the plain formula, every level on every grey, over more rows than one pass takes."""
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (400, 512, 3), dtype=np.uint8)
    level = rng.integers(0, 100, (9, 7), dtype=np.uint8)  # below the outline's threshold
    found = draw_overlay(
        image, level, verdict=Verdict.NG, defect_class=None, score=None, part_id=None, opacity=0.7
    )
    heat = heat_rgba(level, (400, 512)).astype(np.float32)
    alpha = heat[..., 3:] * np.float32(0.7 / 255)
    mixed = np.rint(image + alpha * (heat[..., :3] - image)).astype(np.uint8)
    assert np.array_equal(found[:400], mixed)
