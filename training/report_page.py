"""`qc evaluate --html`: an evaluation as one file that a quality manager reads, prints and signs.

It needs nothing from outside, and nothing in it depends on when or where it was made: the same
model, parts and libraries give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qc.bundle import Bundle
from qc.card_figures import scheme_name
from training import plots, report_rows
from training.audit import leakage_sentence
from training.html import fill_page
from training.judged import Judged
from training.report_pictures import figures as picture_figures
from training.report_pictures import pointed
from training.robustness import KINDS, Point, sample_rows
from training.run import RunPlan, library_versions
from training.slices import Slice
from training.split import crossing_groups

_NAMES = {"auroc": "AUROC", "macro_f1": "macro-F1"}

ROWS = 60
"""Looks of the table of differences that are shown; marked ones always are."""

_LISTS = (
    (
        "mistakes",
        "The worst mistakes",
        "Bad parts passed and good ones rejected, the farthest off first; then defects with a "
        "wrong name.",
    ),
    (
        "doubtful",
        "The most doubtful",
        "Parts whose score lies closest to a threshold: another picture of the same part may be "
        "judged otherwise.",
    ),
    (
        "suspects",
        "Labels that may be wrong",
        "The model contradicts the label with a probability of 0.9 or more: one of the two is "
        "wrong. Look at these first, for a wrong label spoils every figure here.",
    ),
)


def facts(
    judged: Judged, differences: list[Slice], robust: Mapping[str, list[Point]] | None
) -> dict[str, Any]:
    """The key `report` of `qc evaluate --html --json`.

    Args:
        judged: the split.
        differences: of `training.slices.slices`.
        robust: of `training.robustness.robustness`, or None where it was not asked for.

    Returns:
        rates: escape, overkill and review as of `training.report_rows.rate_of`; flow: the same of
        each verdict for good and for bad parts; operating_points: of the curves;
        calibration: ece before and after the temperature, and the bins of both; differences: every
        look, marked or not; mistakes, doubtful, suspects: sample_ids, all of them (of doubtful
        the first twenty); robustness: points by kind.
    """
    listed = {
        "mistakes": report_rows.mistakes(judged),
        "doubtful": report_rows.doubtful(judged)[: report_rows.LISTED],
        "suspects": report_rows.suspects(judged),
    }
    before, after = judged.outputs.score, judged.score
    return {
        "rates": report_rows.rates(judged),
        "flow": report_rows.flow(judged),
        "operating_points": plots.operating_points(judged),
        "calibration": {
            "before": report_rows.calibration_error(judged, before),
            "after": report_rows.calibration_error(judged, after),
            "bins_before": report_rows.reliability_bins(judged, before),
            "bins_after": report_rows.reliability_bins(judged, after),
        },
        "differences": [
            {**asdict(s), "rate": s.rate, "interval": s.interval, "marked": s.marked}
            for s in differences
        ],
        **{key: [judged.images.samples[i].sample_id for i in rows] for key, rows in listed.items()},
        "robustness": robust and {k: [asdict(p) for p in points] for k, points in robust.items()},
    }


def write_report(
    path: Path,
    judged: Judged,
    figures: Mapping[str, Any],
    *,
    plan: RunPlan,
    bundle: Bundle | None,
    audit: Mapping[str, Any],
    columns: Mapping[str, Any],
    differences: list[Slice],
    robust: Mapping[str, list[Point]] | None,
    map_cautions: list[str],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        judged: the split.
        figures: of `qc evaluate --json`, with the key `report`.
        plan: the run.
        bundle: None for a run.
        audit: of `training.audit.audit`.
        columns: of `training.slices.columns_of`.
        differences: of `training.slices.slices`.
        robust: of `training.robustness.robustness`, or None.
        map_cautions: what is to be said of the map, in sentences.

    Raises:
        FaultError: the file cannot be written.
    """
    report = figures["report"]
    hits, misses = pointed(judged)
    fill_page(
        path,
        "report.html",
        name=plan.recipe.name,
        figures=figures,
        bundle=bundle and {"id": bundle.manifest.bundle_id, "scheme": bundle.manifest.scheme},
        decision=judged.decision,
        several=judged.several,
        standing=standing(judged, report["rates"]),
        rates=report["rates"],
        flow=report["flow"],
        points=report["operating_points"],
        calibration=report["calibration"],
        plots=_plots(judged, report["calibration"], robust),
        slices=_table(columns, differences),
        quantised=bundle and _quantised(bundle.report),
        map_cautions=map_cautions,
        shown={"hits": picture_figures(judged, hits), "misses": picture_figures(judged, misses)},
        lists=_lists(judged, report),
        robust=robust and _robust(judged, robust),
        audit=_audit(audit, plan),
        deal=report_rows.deal(plan.samples, judged.classes),
        cannot=report_rows.cannot_say(judged, figures, plan.samples),
        provenance=_provenance(plan, bundle),
    )


def standing(judged: Judged, rates: Mapping[str, Any]) -> dict[str, Any]:
    """What a manager reads first: kind (fine, warn, bad), title, and lines."""
    escape, overkill = rates["escape"], rates["overkill"]
    lines = []
    if escape is not None:
        lines.append(
            f"Of 1,000 bad parts like these about {1000 * escape['rate']:.0f} pass as good "
            f"(with 95% confidence between {1000 * escape['low']:.0f} and "
            f"{1000 * escape['high']:.0f}). That is counted on {escape['n']} bad parts of "
            f"{escape['groups']} group(s)."
        )
    if overkill is not None:
        lines.append(
            f"Of 1,000 good parts about {1000 * overkill['rate']:.0f} are rejected (between "
            f"{1000 * overkill['low']:.0f} and {1000 * overkill['high']:.0f}), counted on "
            f"{overkill['n']} good parts of {overkill['groups']} group(s)."
        )
    decision = judged.decision
    if decision is None:
        title = "A model without thresholds: not fit to be released"
        lines.append(
            "A part counts here as passed where good is its likeliest class. Export the run: the "
            "bundle holds thresholds, and is what a line runs."
        )
        return {"kind": "warn", "title": title, "lines": lines}
    asked = [
        ("escape", escape, decision.max_escape),
        ("overkill", overkill, decision.max_overkill),
    ]
    missed = [(k, r, most) for k, r, most in asked if r is not None and r["rate"] > most]
    shaky = [(k, r, most) for k, r, most in asked if r is None or r["high"] > most >= r["rate"]]
    for kind, found, most in missed:
        chance = "; so few parts may miss it by chance" if found["low"] <= most else ""
        lines.append(f"{found['rate']:.1%} {kind} is more than the {most:.1%} asked for{chance}.")
    for kind, found, most in shaky:
        lines.append(
            f"No part tells of {kind}."
            if found is None
            else f"The {kind} found here is within the {most:.1%} asked for, but so few parts and "
            f"groups do not show that it stays so: it may be {found['high']:.1%}."
        )
    if missed:
        return {"kind": "bad", "title": "What was asked for is not reached", "lines": lines}
    if shaky:
        title = "What was asked for is reached on these parts, but not proven"
        return {"kind": "warn", "title": title, "lines": lines}
    title = "What was asked for is reached, with 95% confidence"
    return {"kind": "fine", "title": title, "lines": lines}


def _plots(
    judged: Judged, calibration: Mapping[str, Any], robust: Mapping[str, list[Point]] | None
) -> dict[str, str | None]:
    diagrams = [("as the model says it", calibration["bins_before"])]
    if judged.decision is not None:
        diagrams.append(("after the temperature", calibration["bins_after"]))
    return {
        "curves": plots.curves(judged),
        "histogram": plots.histogram(judged),
        "reliability": plots.reliability(diagrams),
        "robust": robust and plots.robust(robust),
    }


def _table(columns: Mapping[str, Any], differences: list[Slice]) -> dict[str, Any]:
    marked = sum(s.marked for s in differences)
    kept = differences[: max(marked, ROWS)]
    return {
        "rows": kept,
        "more": len(differences) - len(kept),
        "marked": marked,
        "looks": len(differences),
        "columns": list(columns),
        "why": "no part was judged wrong" if columns else "no column has two values",
    }


def _quantised(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Rows of both models from the bundle's papers; None where they lack one (a model adopted)."""
    sealed, exact = report.get("val"), report.get("val_float")
    if not sealed or not exact:
        return None
    keys = ("auroc", "average_precision", "accuracy", "macro_f1", "escape", "overkill", "review")
    rows = [
        {"name": _NAMES.get(k, k.replace("_", " ")), "float": exact[k], "sealed": sealed[k]}
        for k in keys
    ]
    for name, part, key in (
        ("calibration error", "calibration", "ece"),
        ("pointing", "localisation", "pointing"),
    ):
        rows.append({"name": name, "float": exact[part][key], "sealed": sealed[part][key]})
    wanted = (
        "scheme",
        "bytes",
        "agreement",
        "recall_drop",
        "overkill_rise",
        "map_correlation",
        "why_not",
    )
    tried = [
        {**{k: c.get(k) for k in wanted}, "scheme": scheme_name(c)}
        for c in report.get("candidates", ())
    ]
    tried = [c for c in tried if None not in [c[k] for k in wanted[:5]]]
    return {"rows": rows, "candidates": tried, "agreement": report.get("agreement")}


def _lists(judged: Judged, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    row_of = {s.sample_id: i for i, s in enumerate(judged.images.samples)}
    return [
        {
            "title": title,
            "words": words,
            "count": len(report[key]),
            "figures": picture_figures(
                judged, [row_of[name] for name in report[key][: report_rows.LISTED]]
            ),
        }
        for key, title, words in _LISTS
    ]


def _robust(judged: Judged, robust: Mapping[str, list[Point]]) -> dict[str, Any]:
    rows = sample_rows(judged.is_defect)
    return {
        "n": len(rows),
        "bad": int(judged.is_defect[rows].sum()),
        "kinds": [(kind.name, kind.unit, robust[kind.name]) for kind in KINDS],
    }


def _audit(audit: Mapping[str, Any], plan: RunPlan) -> dict[str, Any]:
    sentence = leakage_sentence(audit)
    lines = [] if sentence is None else [sentence]
    lines += [f"shortcut: {line}" for line in audit["shortcuts"]] + list(audit["cautions"])
    counted = ("cross_split", "exact_duplicates", "near_duplicates", "label_conflicts")
    return {
        **{key: len(audit[key]) for key in counted},
        "crossing": crossing_groups(plan.samples),
        "blocking": audit["blocking"],
        "lines": [*audit["blocking"], *lines],
    }


def _provenance(plan: RunPlan, bundle: Bundle | None) -> dict[str, Any]:
    """What was judged, by what, made from what: facts, and versions of libraries then and now."""
    here = library_versions()
    if bundle is None:
        made = plan.facts()["versions"]
        facts = [
            ("run", plan.path.name),
            ("SHA-256 of the model file", _sha256(plan.model_file)),
            ("recipe hash", plan.recipe.digest()),
            ("split hash", plan.split_hash),
            ("weights hash", plan.weights_hash or "no pretrained weights"),
            ("seed", str(plan.recipe.seed)),
            ("dataset", plan.data.name),
            ("licence of the data", plan.recipe.data.licence),
        ]
    else:
        manifest = bundle.manifest
        source, made = manifest.provenance, manifest.provenance.versions
        facts = [
            ("bundle id", manifest.bundle_id),
            ("SHA-256 of the bundle file", _sha256(bundle.path)),
            ("signed by", bundle.signature.key_id if bundle.signature else "not signed"),
            ("scheme, target", f"{manifest.scheme}, {manifest.target}"),
            ("recipe hash", source.recipe_hash),
            ("split hash", source.split_hash),
            ("calibration hash", source.calibration_hash),
            ("commit", source.commit),
            ("seed", str(source.seed)),
            ("dataset", source.dataset),
            ("licence of the data", manifest.data_licence),
        ]
    versions = [(n, made.get(n, "–"), here.get(n, "–")) for n in sorted({*made, *here})]
    return {"facts": facts, "versions": versions}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
