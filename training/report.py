"""The work behind `qc evaluate`: judge a split, and, for a report, look at it from every side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qc.bundle import Bundle, open_bundle
from qc.console import Command
from training.audit import audit
from training.judged import Judged
from training.report_page import facts, write_report
from training.robustness import robustness
from training.run import RunPlan, open_run
from training.slices import columns_of, read_metadata, slices
from training.steps import judge_bundle, judge_run


def judge(
    target: Path, split: str, running: Command, *, run: Path | None, data: Path | None
) -> tuple[RunPlan, Bundle | None, Judged]:
    """Open a run or a bundle, and judge a split by it; the bundle is None for a run.

    Args:
        target: a run's directory, or a bundle.
        split: name of the split.
        running: shows the progress.
        run: of a bundle that does not lie in its run; None: it does.
        data: the dataset, where it is no longer where the run found it.

    Raises:
        UsageError, DataError, BundleError: what is not there, or does not fit.
    """
    if target.is_dir():
        plan = open_run(target, data)
        return plan, None, judge_run(plan, split, running)
    bundle = open_bundle(target)
    plan = open_run(run or target.parent, data)
    return plan, bundle, judge_bundle(plan, bundle, split, running)


def report(
    path: Path,
    judged: Judged,
    figures: Mapping[str, Any],
    running: Command,
    *,
    plan: RunPlan,
    bundle: Bundle | None,
    robust: bool,
    metadata: Path | None,
    map_cautions: list[str],
) -> dict[str, Any]:
    """Write the report.

    Args:
        path: the HTML file.
        judged: the split.
        figures: of `qc evaluate --json`.
        running: shows the progress.
        plan: the run.
        bundle: None for a run.
        robust: judge worse pictures, too.
        metadata: CSV of more columns by part, or None.
        map_cautions: what is to be said of the map, in sentences.

    Returns:
        The key `report` of `--json`: `training.report_page.facts`.

    Raises:
        DataError: the metadata do not fit.
        FaultError: the file cannot be written.
    """
    table = {} if metadata is None else read_metadata(metadata, judged.images.samples)
    columns = columns_of(judged, table)
    differences = slices(judged, columns)
    worse = None
    if robust:
        with running.step("worse pictures") as tell:
            worse = robustness(judged, tell)
    with running.step("audit the split") as tell:
        found = audit(plan.samples, plan.recipe.data.format or "", progress=tell)
    made = facts(judged, differences, worse)
    write_report(
        path,
        judged,
        {**figures, "report": made},
        plan=plan,
        bundle=bundle,
        audit=found,
        columns=columns,
        differences=differences,
        robust=worse,
        map_cautions=map_cautions,
    )
    return made
