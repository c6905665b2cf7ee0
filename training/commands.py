"""`qc data audit`, `qc data split`, `qc train` and `qc evaluate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qc.console import Command
from qc.errors import GateError, UsageError
from qc.folders import refuse_unwritable
from qc.types import Sample
from training.audit import audit, leakage_sentence
from training.datasets import load_samples, read_dataset
from training.grouping import group_by_folder, group_by_path, join_groups, refuse_torn
from training.looks import alike_pairs, look_at, refuse_unreadable
from training.split import (
    SPLITS,
    apply_split,
    crossing_groups,
    fold_samples,
    group_of,
    split_samples,
    write_split,
)

MAP_ALIKE = 0.5
"""Likeness of the map under random weights that is worth a warning, from here on."""


def data_audit(
    running: Command,
    path: Path,
    split: Path | None,
    format: str | None,
    html: Path | None = None,
    options: Sequence[str] = (),
) -> None:
    """Audit a dataset, and a split of it; write the page of what was found where one is wanted."""
    refuse_unwritable(html)
    reading = read_dataset(path, format, told(options))
    samples = reading.samples or reading.usable(path)
    if split is not None:
        samples = apply_split(samples, split)
    with running.step("audit") as tell:
        found = audit(samples, reading.format, progress=tell)
    found["annotation_errors"] += reading.errors
    found["without_picture"] = reading.without_picture
    found["cautions"] += [reading.left_out] if reading.left_out else []
    if reading.fatal:
        found["blocking"].append(f"{len(reading.fatal)} file(s) or annotation(s) do not fit")
    if html is not None:
        from training.audit_page import write_page

        write_page(html, path.resolve().name, found, samples)
    running.result(found)
    for line in audit_lines(found):
        running.say(line)
    if html is not None:
        running.say(f"pictures: {html}")
    if found["blocking"]:
        raise GateError("training is blocked", where=path, found="; ".join(found["blocking"]))


def told(options: Sequence[str]) -> dict[str, str]:
    """What `--option KEY=VALUE` says, by key; raises UsageError where it is not of that form."""
    wrong = [o for o in options if not o.partition("=")[0] or "=" not in o]
    if wrong:
        raise UsageError("--option is not of its form", expected="KEY=VALUE", found=wrong[0])
    return dict(o.split("=", 1) for o in options)


def audit_lines(found: dict[str, Any]) -> list[str]:
    """The audit for a person."""
    classes = ", ".join(f"{name} {n}" for name, n in found["classes"].items())
    lines = [
        f"{found['images']} images as {found['format']} in {found['groups']} groups: {classes}",
    ]
    lines += [sentence for sentence in [leakage_sentence(found)] if sentence is not None]
    for key in ("unreadable", "annotation_errors"):
        rows = found[key]
        lines += [f"{key.replace('_', ' ')}: {r['path']}: {r['why']}" for r in rows[:5]]
        if len(rows) > 5:
            lines.append(f"{key.replace('_', ' ')}: {len(rows) - 5} more")
    for key in ("exact_duplicates", "near_duplicates", "cross_split", "label_conflicts"):
        if found[key]:
            lines.append(f"{key.replace('_', ' ')}: {len(found[key])} (--json lists them)")
    lines += [f"shortcut: {sentence}" for sentence in found["shortcuts"]]
    lines += [f"caution: {sentence}" for sentence in found["cautions"]]
    return lines


def data_split(
    running: Command,
    path: Path,
    out: Path,
    seed: int,
    format: str | None,
    options: Sequence[str] = (),
    *,
    group_regex: str | None = None,
    group_folder: bool = False,
    infer_groups: bool = False,
    folds: int | None = None,
) -> None:
    """Split a dataset by group, and refuse where the pictures say that it leaks.

    Args:
        path: the dataset.
        out: CSV to write; with `folds` one each, named `<out>-1.csv` and so on.
        seed: another seed, another deal.
        format, options: the layout, and what it is told.
        group_regex: finds the group in a sample's path.
        group_folder: the group is the image's folder.
        infer_groups: pictures that show the same thing become one group.
        folds: as many splits, for cross-validation; None: one.
    """
    refuse_unwritable(out)
    _, samples = load_samples(path, format, told(options))
    if group_regex is not None and group_folder:
        raise UsageError("two sources of groups", found="--group-regex and --group-folder")
    if group_regex is not None:
        samples = group_by_path(samples, group_regex)
    elif group_folder:
        samples = group_by_folder(samples)
    alike = _alike(running, samples)
    if infer_groups:
        samples = join_groups(samples, alike)
    if folds is None:
        splits, files = [split_samples(samples, seed=seed)], [out]
    else:
        splits = fold_samples(samples, folds=folds, seed=seed)
        files = [out.with_name(f"{out.stem}-{n}{out.suffix}") for n in range(1, folds + 1)]
    for split in splits:
        refuse_torn(split, alike, path)
    rows = []
    for split, file in zip(splits, files, strict=True):
        write_split(split, file)
        sizes = Counter(s.split for s in split)
        rows.append({**{name: sizes[name] for name in SPLITS}, "out": str(file)})
    groups = len({group_of(s) for s in samples})
    crossing = sorted({name for split in splits for name in crossing_groups(split)})
    facts = {**rows[0], "groups": groups, "crossing_groups": crossing}
    running.result(facts if folds is None else {**facts, "folds": rows})
    for row in rows:
        running.say(
            f"train {row['train']}, val {row['val']}, test {row['test']} images; "
            f"{groups} groups, none in two splits; written to {row['out']}"
        )


def _alike(running: Command, samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Pairs of rows that show the same thing; raises DataError where a picture cannot be read."""
    with running.step("compare pictures") as tell:
        looks = look_at(samples, tell)
    refuse_unreadable(looks)
    return alike_pairs(looks)


def train(
    running: Command,
    recipe: Path,
    *,
    data: Path | None,
    weights: Path | None,
    runs: Path,
    seed: int | None,
    resume: bool,
) -> Path:
    """Train a recipe; the run directory."""
    from training.backend import require, wake
    from training.run import is_to_train, plan_run

    require()
    plan = plan_run(recipe, data=data, runs=runs, seed=seed, weights=weights)
    if plan.recipe.data.split is None and not plan.path.exists():
        # nobody has looked at this split
        refuse_torn(plan.samples, _alike(running, plan.samples), plan.data)
    if is_to_train(plan, resume=resume):
        wake(quiet=not running.verbose)
        from training.steps import train_plan

        train_plan(plan, recipe, weights, resume=resume, running=running)
    else:
        running.say("this run is finished already")
    facts = plan.result()
    running.result({"run": str(plan.path), **facts})
    running.say(
        f"{plan.path}: best of {facts['epochs']} epochs is {facts['best_epoch']}, "
        f"VAL AUROC {facts['val']['auroc']:.3f}, macro-F1 {facts['val']['macro_f1']:.3f}"
    )
    return plan.path


def evaluate(
    running: Command,
    target: Path,
    *,
    split: str,
    run: Path | None,
    data: Path | None,
    faithful: bool = True,
    predictions: Path | None = None,
    html: Path | None = None,
    robust: bool = True,
    metadata: Path | None = None,
) -> None:
    """Figures of a run or a bundle on a split; with `html` also as a report."""
    if split not in SPLITS:
        raise UsageError("no such split", expected="train, val or test", found=repr(split))
    if metadata is not None and html is None:
        raise UsageError("--metadata is for the report: give --html, too", where=metadata)
    refuse_unwritable(html, predictions)
    from training.backend import wake

    wake(quiet=not running.verbose)
    from training.report import judge, report
    from training.steps import figures_of

    plan, bundle, judged = judge(target, split, running, run=run, data=data)
    found = {
        "bundle_id": None if bundle is None else bundle.manifest.bundle_id,
        **figures_of(judged, running, faithful=faithful, predictions=predictions),
    }
    if html is not None:
        cautions = map_cautions(found["faithfulness"])
        found["report"] = report(
            html,
            judged,
            found,
            running,
            plan=plan,
            bundle=bundle,
            robust=robust,
            metadata=metadata,
            map_cautions=cautions,
        )
    running.result(found)
    for line in evaluation_lines(found):
        running.say(line)
    if html is not None:
        running.say(f"report: {html}")


def compare(
    running: Command,
    first: Path,
    second: Path,
    *,
    split: str,
    runs: Sequence[Path],
    data: Path | None,
    html: Path | None,
) -> None:
    """Two runs or bundles on the same parts of a split."""
    if split not in SPLITS:
        raise UsageError("no such split", expected="train, val or test", found=repr(split))
    if len(runs) > 2:
        raise UsageError("too many runs", expected="--run once or twice", found=len(runs))
    refuse_unwritable(html)
    from training.backend import wake

    wake(quiet=not running.verbose)
    from training.compare import compared, write_comparison
    from training.report import judge

    homes = (runs[0], runs[-1]) if runs else (None, None)
    sides = []
    for target, home in zip((first, second), homes, strict=True):
        plan, bundle, judged = judge(target, split, running, run=home, data=data)
        name = plan.path.name if bundle is None else f"bundle {bundle.manifest.bundle_id}"
        sides.append((name, judged))
    found = compared(sides[0], sides[1])
    if html is not None:
        write_comparison(html, found, sides[0][1], sides[1][1])
    running.result(found)
    for line in comparison_lines(found):
        running.say(line)
    if html is not None:
        running.say(f"comparison: {html}")


def comparison_lines(found: dict[str, Any]) -> list[str]:
    """The comparison for a person."""
    a, b = found["names"]
    lines = [
        f"{found['split']}: {found['n']} images in {found['groups']} groups",
        f"A is {a}, B is {b}",
    ]
    if found["thresholds"][0] != found["thresholds"][1]:
        with_them = "A" if found["thresholds"][0] else "B"
        lines.append(
            f"caution: only {with_them} has thresholds, the other one judges by its likeliest class"
        )
    for name, row in found["differences"].items():
        if row["a"] is None:
            continue
        change = with_interval(row["difference"], row["interval"], "+.3f")
        word = "" if not row["beyond_chance"] else "  beyond chance"
        lines.append(f"{name:<10} A {row['a']:.3f}   B {row['b']:.3f}   B - A {change}{word}")
    pairs = found["mcnemar"]
    lines.append(
        f"right      A alone on {pairs['only_a']} parts, B alone on {pairs['only_b']}: "
        f"McNemar p = {pairs['p']:.3f}"
    )
    return [*lines, f"flips      {len(found['flips'])} parts are judged otherwise"]


def evaluation_lines(found: dict[str, Any]) -> list[str]:
    """The figures for a person."""
    lines = [
        f"{found['split']}: {found['n']} images in {found['groups']} groups, split by group",
        f"AUROC      {with_interval(found['auroc'], found['auroc_ci'], '.3f')}",
        f"accuracy   {found['accuracy']:.3f}   macro-F1 {found['macro_f1']:.3f}   "
        f"ECE {found['calibration']['ece']:.3f}",
    ]
    if found["confusion"] is None:
        lines.append("           accuracy: parts with exactly the right defects, none too many")
    if found["map"] is not None:
        defects = list(found["per_class"].items())[1:]
        least, name = min((row["average_precision"], c) for c, row in defects if row["n"])
        lines.append(f"mean AP    {found['map']:.3f} over the defects; lowest {name} {least:.3f}")
    if found["escape"] is not None:
        lines += [
            f"escape     {with_interval(found['escape'], found['escape_ci'], '.1%')}",
            f"overkill   {with_interval(found['overkill'], found['overkill_ci'], '.1%')}",
            f"review     {found['review']:.1%}",
        ]
        if found["float_agreement"] is not None:
            share = with_interval(found["float_agreement"], found["float_agreement_ci"], ".1%")
            lines.append(f"as float   {share} of the verdicts, at the same thresholds")
    else:
        lines.append("escape and overkill come with a bundle: a run has no thresholds")
    return [*lines, *_place_lines(found["localisation"]), *_map_lines(found["faithfulness"])]


def _place_lines(place: dict[str, Any]) -> list[str]:
    """Where the map points, for a person; nothing where no mask says where the defect is."""
    if place["pointing"] is None:
        return []
    overlap = "" if place["aupro"] is None else f", AUPRO {place['aupro']:.3f}"
    return [
        f"map        points at {with_interval(place['pointing'], place['pointing_ci'], '.1%')} of "
        f"{place['n']} defects (chance {place['pointing_chance']:.1%}, "
        f"image centre {place['pointing_centre']:.1%})",
        f"           {place['energy_in_pixels']:.1%} of its heat on {place['mask_area']:.1%} of "
        f"the area{overlap}",
    ]


def _map_lines(check: dict[str, Any] | None) -> list[str]:
    """Whether the map can be believed, for a person; nothing where it was not checked."""
    if check is None or check["n"] == 0:
        return []
    lines = [
        f"faithful   deletion {check['deletion']:.3f} (random order "
        f"{check['deletion_random']:.3f}), insertion {check['insertion']:.3f} (random order "
        f"{check['insertion_random']:.3f})"
    ]
    alike = check["randomised_similarity"]
    if alike is None:
        lines.append(
            "           whether the map depends on the weights cannot be told of this model"
        )
    else:
        lines.append(f"           likeness of the map under random weights {alike:.2f}")
    return [*lines, *(f"caution: {words}" for words in map_cautions(check))]


def map_cautions(check: dict[str, Any] | None) -> list[str]:
    """Why the map is not to be believed, in sentences; none where it is, or was not checked."""
    if check is None or check["n"] == 0:
        return []
    found = []
    for name in ("deletion", "insertion"):
        interval = check[f"{name}_gap_ci"]
        if interval is None or interval[0] <= 0:
            found.append(
                f"in {name} the map is not shown to be better than a random order: what is hot "
                "need not be what the score rests on"
            )
    alike = check["randomised_similarity"]
    if alike is not None and alike >= MAP_ALIKE:
        found.append(
            "with random weights the map stays alike: it shows the picture, not what the model "
            "learnt"
        )
    return found


def with_interval(value: float | None, interval: Any, form: str) -> str:
    """A figure with its 95 % interval."""
    if value is None:
        return "unknown"
    text = format(value, form)
    return text if interval is None else f"{text} [{interval[0]:{form}}, {interval[1]:{form}}]"
