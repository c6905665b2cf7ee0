"""`qc bench`: one part in twenty is flagged, both sides judge every picture, starts are timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from unit.toy_line import FirstPixel, picture, seal

from edge.bench import Again, OneInTwenty, Times, bare_rate, cold_start, line_rate
from qc.decide import decide
from qc.errors import FaultError, UsageError
from qc.imageio import write_png
from qc.journal import Journal
from qc.replay import require_replay


def pictures(folder: Path, count: int = 3) -> list[Path]:
    found = []
    for number in range(count):
        found.append(folder / f"p{number}.png")
        write_png(found[-1], picture(10 * number))
    return found


def test_one_part_in_twenty_is_flagged_and_the_replay_stays_true(tmp_path: Path) -> None:
    bundle = seal(tmp_path / "toy.tflite")
    flagging = OneInTwenty(FirstPixel(), bundle)
    assert require_replay(bundle, flagging).max_score_error == 0
    manifest = bundle.manifest
    verdicts = [
        decide(
            flagging.predict(picture(200)), manifest.decision, manifest.class_names, manifest.good
        ).verdict.value
        for _ in range(40)
    ]
    assert verdicts == (["OK"] * 19 + ["NG"]) * 2
    with pytest.raises(Exception, match="does not replay"):
        require_replay(bundle, OneInTwenty(FirstPixel(shift=-0.3), bundle))


def test_line_of_the_bench_journals_every_part_with_pictures(tmp_path: Path) -> None:
    bundle = seal(tmp_path / "toy.tflite")
    paths, times = pictures(tmp_path), Times()
    flagging = OneInTwenty(FirstPixel(), bundle)
    assert line_rate(bundle, flagging, Again(paths, 40), 40, tmp_path / "l", times).fps > 0
    assert len(times.total_ms) == 40 and set(times.infer_ms) == {2.0}
    assert Journal(tmp_path / "l" / "journal.db").count() == 40
    assert len([*(tmp_path / "l" / "overlays").iterdir()]) == 2
    assert len([*(tmp_path / "l" / "journal-images").rglob("*.png")]) == 2


def test_lost_frame_spoils_the_measurement(tmp_path: Path) -> None:
    bundle = seal(tmp_path / "toy.tflite")
    paths = [*pictures(tmp_path), tmp_path / "missing.png"]
    with pytest.raises(FaultError, match="did not judge every frame"):
        line_rate(bundle, FirstPixel(), Again(paths, 4), 4, tmp_path / "l", Times())


def test_bare_loop_reads_what_the_line_reads(tmp_path: Path) -> None:
    bundle = seal(tmp_path / "toy.tflite")
    seen = []

    class Noting(FirstPixel):
        def predict(self, image):  # type: ignore[no-untyped-def]
            seen.append(image)
            return super().predict(image)

    paths = pictures(tmp_path)
    assert bare_rate(bundle, Noting(), paths, 4).fps > 0
    assert [int(image[0, 0, 0]) for image in seen] == [0, 10, 20, 0]
    assert np.array_equal(seen[1], picture(10))
    with pytest.raises(FaultError, match="cannot read"):
        bare_rate(bundle, FirstPixel(), [tmp_path / "missing.png"], 1)


def test_cold_start_ends_with_the_first_verdict(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nsleep 0.2\necho 'OK one' >&2\nsleep 0.5\n", encoding="utf-8")
    program.chmod(0o755)
    seconds = cold_start(tmp_path / "b", tmp_path / "i", python=str(program))
    assert 0.2 <= seconds < 0.7
    program.write_text("#!/bin/sh\necho 'no such bundle' >&2\nexit 2\n", encoding="utf-8")
    with pytest.raises(FaultError, match="no such bundle"):
        cold_start(tmp_path / "b", tmp_path / "i", python=str(program))


def test_no_time_is_refused(tmp_path: Path) -> None:
    from edge.bench import bench

    with pytest.raises(UsageError, match="--seconds"):
        bench(None, tmp_path / "b", None, 0, 1)  # type: ignore[arg-type]
