"""`qc data convert`: a dataset of any layout, written as class folders, COCO or YOLO.

All or nothing: the dataset is written into `<out>.partial`, read back from there as a user would
read it, and only then gets its name: images, classes and groups must come back as they were given.
Image files are copied byte for byte; a picture that is not a file becomes PNG.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qc.console import Command
from qc.errors import DataError, FaultError, UsageError
from qc.types import Sample
from training.commands import told
from training.datasets import load_samples, read_dataset
from training.datasets._groups import GROUPS_FILE
from training.split import apply_split, group_of
from training.writers import Job, writer
from training.writers._job import Tell

_PARTIAL = ".partial"


def data_convert(
    running: Command,
    source: Path,
    to: str,
    out: Path,
    *,
    format: str | None = None,
    split: Path | None = None,
    good: str | None = None,
    options: Sequence[str] = (),
) -> None:
    """Convert a dataset, and say what was written and what could not be kept."""
    with running.step("convert") as tell:
        found = convert(
            source,
            to,
            out,
            format=format,
            split=split,
            good=good,
            options=told(options),
            tell=tell,
        )
    running.result(found)
    classes = ", ".join(f"{name} {n}" for name, n in found["classes"].items())
    running.say(f"{found['out']}: {found['images']} images as {found['format']}: {classes}")
    marks = ", ".join(f"{found[key]} {key}" for key in ("boxes", "polygons", "masks", "groups"))
    running.say(marks)
    for note in found["notes"]:
        running.say(f"note: {note}")


def convert(
    source: Path,
    to: str,
    out: Path,
    *,
    format: str | None = None,
    split: Path | None = None,
    good: str | None = None,
    options: Mapping[str, Any] | None = None,
    tell: Tell = lambda done, total: None,
) -> dict[str, Any]:
    """Write a dataset in another layout.

    Args:
        source: the dataset.
        to: the layout to write.
        out: the folder to make; it must not exist, or be empty.
        format: the source's layout, or None to find it out.
        split: CSV of a split; None: the split of the dataset's own folders, if any.
        good: the class that means that nothing is there, for COCO and YOLO; "": none does.
        options: what the source's layout is told.
        tell: told of images done and images in all.

    Returns:
        `{"format", "out", "images", "classes", "boxes", "polygons", "masks", "groups",
        "without_picture", "notes"}`; the classes as they are read back, each with its images.

    Raises:
        UsageError: an unknown format, a folder that cannot be `out`, or a good class not named.
        DataError: the source is wrong, or the format cannot say what it holds.
        FaultError: the folder cannot be written.
    """
    chosen = writer(to)
    target = _checked_out(source, out)
    reading = read_dataset(source, format, options)
    samples = reading.usable(source)
    samples = samples if split is None else apply_split(samples, split)
    with _made_whole(target) as root:
        job = Job(samples, root, to, good=good, tell=tell)
        chosen.write(job)
        groups = _write_groups(job)
        _read_back(job, groups, source)
    if not job.has_splits and any(s.split for s in samples):
        job.notes["splits are left out: not every image has one"] = 1
    what = "{n} annotation(s) of the source are wrong or incomplete: qc data audit names them"
    job.notes[what] = len(reading.errors)
    job.notes[reading.left_out] = reading.without_picture
    classes = Counter(label for labels in job.labels.values() for label in labels)
    return {
        "format": job.format,
        "out": str(out),
        "images": len(samples),
        "classes": {name: classes[name] for name in sorted(classes)},
        "boxes": job.boxes,
        "polygons": job.polygons,
        "masks": job.masks,
        "groups": len(set(groups.values())),
        "without_picture": reading.without_picture,
        "notes": job.lines(),
    }


def _checked_out(source: Path, out: Path) -> Path:
    """The folder to make, as an absolute path."""
    try:
        target = out.resolve()
        if target.is_dir() and not any(target.iterdir()):
            taken = None
        else:
            taken = "a folder with something in it" if target.is_dir() else "a file"
            taken = taken if target.exists() else None
        inside = source.is_dir() and target.is_relative_to(source.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or error
        raise FaultError(f"folder cannot be used ({reason})", where=out) from error
    if taken is not None:
        expected = "a new folder, or an empty one"
        raise UsageError("--out is there already", where=out, expected=expected, found=taken)
    if inside:
        raise UsageError("--out lies inside the dataset", where=out, expected=f"not in {source}")
    return target


@contextmanager
def _made_whole(target: Path) -> Iterator[Path]:
    """A folder that gets its name when the body is through, and is gone when it is not."""
    partial = target.with_name(target.name + _PARTIAL)
    missing = [folder for folder in partial.parents if not folder.exists()]
    ours = done = False
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.mkdir()
        except FileExistsError as error:
            raise UsageError(
                "another conversion is writing here, or was cut off: then remove the folder",
                where=partial,
            ) from error
        ours = True
        yield partial
        if target.exists():
            target.rmdir()
        partial.rename(target)
        done = True
    except OSError as error:
        reason = error.strerror or error  # a copy to a full disk names the file it copies
        raise FaultError(f"dataset cannot be written ({reason})", where=target) from error
    finally:
        if ours and not done:
            shutil.rmtree(partial, ignore_errors=True)
        for folder in missing if not done else ():
            with suppress(OSError):  # not made, or something else is in it by now
                folder.rmdir()


def _write_groups(job: Job) -> dict[str, str]:
    """The group of each image by its path; written where an image has not merely its own."""
    members: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in job.samples:
        members[group_of(sample)].append(sample)
    shared = {g for g, found in members.items() if [s.sample_id for s in found] != [g]}
    groups: dict[str, str] = {}
    for sample, path in zip(job.samples, job.paths, strict=True):
        name = own = path.as_posix()
        while own in shared:
            own += "'"
        group = group_of(sample)
        groups[name] = group if group in shared else own
    if shared:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["path", "group"])
        rows.writerows(groups.items())
        try:
            data = text.getvalue().encode()
        except UnicodeEncodeError as error:
            found = repr(error.object[error.start : error.end])
            raise DataError("name of a group cannot be written", found=found) from error
        (job.root / GROUPS_FILE).write_bytes(data)
    return groups


def _read_back(job: Job, groups: dict[str, str], source: Path) -> None:
    """Read what was written, and refuse it where it is not what was given."""
    try:
        format, samples = load_samples(job.root)
    except DataError as error:
        what = f"what was written would not be read as {job.format} ({error.message})"
        raise DataError(what, where=source) from error
    found = {s.sample_id: (s.labels, s.group) for s in samples}
    given = {name: (labels, groups[name]) for name, labels in job.labels.items()}
    if format != job.format:
        what = "what was written would be read as another format"
        raise DataError(what, where=source, expected=job.format, found=format)
    if found != given:
        name = min(k for k in found.keys() | given.keys() if found.get(k) != given.get(k))
        raise DataError(
            f"what was written is not read back as it was given: image {name}",
            where=source,
            expected=given.get(name),
            found=found.get(name),
        )
