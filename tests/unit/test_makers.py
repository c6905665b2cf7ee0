"""Processes that make pictures: the same as threads make, and nothing of them is left."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from qc.errors import FaultError
from qc.recipe import AugmentTable
from qc.types import Sample
from training import makers, shared
from training.images import Images
from training.pipeline import Batches
from training.rows import with_places
from training.variants import Variant, Variants

ROOT = Path(__file__).parents[2]
BUSY = AugmentTable(copy_paste=0.5, noise=0.1, cut_out=0.3, defocus=2, jpeg=50, gamma=0.4)

pytestmark = pytest.mark.skipif(
    shared.place_of(shared.empty((1,))) is None, reason="memory cannot be shared here"
)


def _images(colour: str = "rgb") -> Images:
    """Good parts and two kinds of defects; one sample has both, each with a mask of its own."""
    rng = np.random.default_rng(7)
    labels = np.array([0, 1, 2, 0, 0, 0, 1, 0] * 3)
    n = len(labels)
    pixels = rng.integers(0, 255, (n, 16, 16, 1 if colour == "grey" else 3), np.uint8)
    masks = np.zeros((n, 16, 16), np.uint8)
    masks[labels > 0, 4:8, 5:9] = 255
    layers = np.zeros((16, 16, 3), np.uint8)
    layers[4:8, 5:7, 1] = layers[4:8, 7:9, 2] = 255
    return Images(
        tuple(Sample(str(i), Path("none"), ("x",)) for i in range(n)),
        np.ascontiguousarray(np.broadcast_to(pixels, (n, 16, 16, 3))),
        labels,
        masks,
        np.ones(n, bool),
        labels > 0,
        colour,  # type: ignore[arg-type]
        {1: (1, 2)},
        {1: layers},
    )


def _batches(images: Images, **changes: object) -> Batches:
    values = {"batch_size": 6, "balance": 0.5, "seed": 3} | changes
    return Batches(images, good=0, map_shape=(4, 4, 3), table=BUSY, **values)  # type: ignore[arg-type]


def _epoch(batches: Batches) -> list[np.ndarray]:
    found = [batches[i] for i in range(len(batches))]
    return [a for x, y in found for a in (x, y["score"], y["attention"])]


def _same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(map(np.array_equal, first, second))


def _seen_by_others(images: Images) -> Images:
    """The same samples in memory that other processes see."""
    found = with_places(images)
    assert all(shared.place_of(a) for a in (found.pixels, found.masks, *found.layers.values()))
    assert with_places(found).pixels is found.pixels, "no second copy"
    return found


@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("kept", ["in this process", "where others see it"])
def test_processes_change_nothing(colour: str, kept: str) -> None:
    images = _images(colour)
    before = images.pixels.copy()
    if kept == "where others see it":
        images = _seen_by_others(images)
    threads, processes = _batches(images), _batches(images, processes=2)
    try:
        for _ in range(3):
            assert _same(_epoch(threads), _epoch(processes))
            threads.on_epoch_end()
            processes.on_epoch_end()
        assert len(processes.makers._begun) == 2 and not threads.makers._begun
    finally:
        processes.close()
    assert np.array_equal(images.pixels, before), "they write into the batch, not into the samples"


def test_a_batch_is_the_callers_own() -> None:
    """It is no part of the memory that the next ones are made in."""
    batches = _batches(_images(), processes=1)
    try:
        first = batches[0][0]
        kept = first.copy()
        for _ in range(2):
            _epoch(batches)
            batches.on_epoch_end()
        assert np.array_equal(first, kept)
    finally:
        batches.close()


def test_batches_out_of_order_are_the_same() -> None:
    images = _images()
    batches, wanted = _batches(images, processes=2), _batches(images)
    try:
        for index in (3, 0, 0, 2, 1, 3):
            assert np.array_equal(batches[index][0], wanted[index][0])
    finally:
        batches.close()


def test_closing_ends_the_processes() -> None:
    batches = _batches(_images(), processes=2)
    _epoch(batches)
    begun = [process.pid for process in batches.makers._begun]
    batches.close()
    assert len(begun) == 2 and not any(Path(f"/proc/{pid}").exists() for pid in begun)
    batches.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        batches[0]


@pytest.mark.parametrize("processes", [0, 1])
def test_closing_while_a_batch_is_waited_for_holds_nobody_up(processes: int) -> None:
    """As where a training ends by an error while Keras asks for its next batch."""
    batches = _batches(_images(), processes=processes, threads=1)
    told: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(1000):
                _epoch(batches)
                batches.on_epoch_end()
        except (CancelledError, RuntimeError) as error:
            told.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    time.sleep(1.5)
    batches.close()
    asking.join(20)
    assert not asking.is_alive() and told


def test_a_process_that_ends_is_told_of_and_not_waited_for() -> None:
    batches = _batches(_images(), processes=1)
    try:
        batches[0]
        batches.makers._begun[0].send_signal(signal.SIGKILL)
        with pytest.raises(FaultError, match=r"makes pictures .* has ended.*found exit status -9"):
            for index in range(len(batches)):
                batches[index]
    finally:
        batches.close()


def test_an_error_in_a_process_is_raised_here() -> None:
    """With what it was about; the process goes on."""
    images = _images()
    batches = _batches(images, processes=1)
    try:
        wanted = _epoch(batches)
        batches.on_epoch_end()
        batches.chosen = batches.chosen + 1000
        with pytest.raises(IndexError, match="out of bounds") as found:
            batches[0]
        assert "training/variants.py" in "".join(found.value.__notes__)
        batches.on_epoch_end()
        batches.epoch = 0
        batches._draw()
        assert _same(_epoch(batches), wanted)
    finally:
        batches.close()


def test_what_a_library_prints_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "import builtins, training.variants as v; d = v.Variants.draw\n"
    told += "v.Variants.draw = lambda *a: (print('hello'), d(*a))[1]\n"
    monkeypatch.setattr(makers, "_START", told + makers._START)
    images = _images()
    batches = _batches(images, processes=1)
    try:
        assert _same(_epoch(batches), _epoch(_batches(images)))
    finally:
        batches.close()


def test_they_leave_the_cores_to_the_training() -> None:
    batches = _batches(_images(), processes=1)
    try:
        batches[0]
        pid = batches.makers._begun[0].pid
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        assert os.getpgid(pid) != os.getpgid(0), "ctrl-c at the keyboard is told to the training"
    finally:
        batches.close()


PROGRAM = """
import sys, time
sys.path[:0] = [{tests!r}]
from test_makers import _batches, _images
batches = _batches(_images(), processes=2)
for i in range(len(batches)):
    batches[i]
print(*[process.pid for process in batches.makers._begun], flush=True)
time.sleep(60)
"""


def test_none_outlives_a_training_that_was_killed() -> None:
    program = PROGRAM.format(tests=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as training:
        assert training.stdout is not None
        begun = [Path("/proc") / pid / "cmdline" for pid in training.stdout.readline().split()]
        assert len(begun) == 2 and all(b"training.makers" in file.read_bytes() for file in begun)
        training.kill()
    until = time.monotonic() + 20
    while any(_runs(file) for file in begun) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_runs(file) for file in begun)


def _runs(file: Path) -> bool:
    try:
        return b"training.makers" in file.read_bytes()
    except OSError:
        return False


def test_where_memory_cannot_be_shared_threads_make_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> int:
        raise OSError(name)

    images = _images()
    wanted = _epoch(_batches(images))
    monkeypatch.setattr(os, "memfd_create", none)
    batches = _batches(images, processes=2)
    assert _same(_epoch(batches), wanted) and not batches.makers._begun
    assert batches.images.pixels is images.pixels, "no copy that brings nothing"
    monkeypatch.delattr(os, "memfd_create")
    batches = _batches(images, processes=2)
    assert _same(_epoch(batches), wanted) and not batches.makers._begun


@pytest.mark.parametrize(
    ("cores", "pictures", "gpus", "wanted"),
    [
        (2, 5000, 0, 2),
        (2, 4999, 0, 0),
        (1, 10**6, 1, 0),
        (16, 10**6, 0, 4),
        (16, 10**6, 1, 16),
        (64, 10**6, 4, 16),
    ],
)
def test_how_many_are_worth_it(
    cores: int, pictures: int, gpus: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert makers.worthwhile_processes(pictures, gpus) == wanted
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert makers.worthwhile_processes(pictures, gpus) == wanted


# shared arrays


def test_an_array_is_seen_at_its_place() -> None:
    array = shared.empty((4, 3, 2), np.float32)
    assert not array.any()
    place = shared.place_of(array)
    assert place is not None
    seen = shared.at_place(place)
    array[2, 1, 0] = 5.0
    assert seen[2, 1, 0] == 5.0 and seen.dtype == np.float32 and seen.shape == (4, 3, 2)
    seen[0, 0, 0] = 7.0
    assert array[0, 0, 0] == 7.0


def test_a_block_of_rows_has_a_place_and_a_column_has_none() -> None:
    array = shared.empty((5, 4096), np.uint16)
    array[...] = np.arange(5)[:, None]
    rows = shared.place_of(array[2:4])
    assert rows is not None and shared.at_place(rows).tolist() == array[2:4].tolist()
    assert shared.place_of(array[:, 0]) is None
    assert shared.place_of(np.zeros(3)) is None
    assert shared.place_of(shared.empty((0, 3))) is None


def test_the_memory_goes_with_the_array() -> None:
    array = shared.empty((1000,))
    place = shared.place_of(array)
    assert place is not None and Path(place.path).exists()
    view = array[1:]
    del array
    assert Path(place.path).exists()
    del view
    assert not Path(place.path).exists()
    with pytest.raises(OSError, match=r"/proc/"):
        shared.at_place(place)


def test_an_array_on_a_disk_is_not_taken_for_one(tmp_path: Path) -> None:
    on_disk = np.asarray(np.memmap(tmp_path / "a.bin", np.uint8, "w+", shape=(8,)))
    assert shared.place_of(on_disk) is None
    assert shared.place_of(shared.with_place(on_disk)) is not None


def test_a_draw_that_was_sent_draws_the_same() -> None:
    drawn = Variants(_images(), 0, BUSY, 0.5)
    sent: Variants = pickle.loads(pickle.dumps(drawn))
    for seed in range(10):
        first, second = drawn.draw(seed, seed), sent.draw(seed, seed)
        assert isinstance(first, Variant) and np.array_equal(first.image, second.image)
        assert first.applied == second.applied
