"""The card of a bundle: what it says of itself, as a page of Markdown that anybody can read.

The sections are those of Mitchell et al.: "Model Cards for Model Reporting", FAT* 2019 (arXiv
1810.03993). Nothing is made up: what a bundle does not say is said to be unknown. The same bundle
and evaluation give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from qc.bundle import Bundle, open_bundle
from qc.card_figures import Figures, figure_parts, percent, scheme_name
from qc.console import Command
from qc.errors import BundleError, DataError, FaultError
from qc.markdown import cell, code, grid, joined

UNKNOWN = "unknown: the bundle does not say"


class Evaluation(Figures):
    """What `qc evaluate BUNDLE --json` printed, as far as a card shows it.

    Args:
        bundle_id: of the bundle that was evaluated; None: it was a run.
        split: the parts that it judged.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    bundle_id: str | None = Field()
    split: str


def card(running: Command, path: Path, out: Path | None, evaluation: Path | None) -> None:
    """Print or write the card of a bundle.

    Args:
        running: the command.
        path: the bundle.
        out: the file to write; None: the card goes to stdout.
        evaluation: what `qc evaluate --json` printed of this bundle, or None.

    Raises:
        BundleError: not a whole bundle.
        DataError: the evaluation is none, or of another bundle.
        FaultError: the file cannot be written.
    """
    bundle = open_bundle(path)
    found = None if evaluation is None else read_evaluation(evaluation, bundle)
    text = card_of(bundle, found)
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise FaultError(
                "the card cannot be written", where=out, found=error.strerror
            ) from error
        running.say(f"card of {bundle.manifest.name} {bundle.manifest.bundle_id}: {out}")
    elif not running.as_json:
        running.print(text)
    running.result(
        {
            "bundle": str(path),
            "bundle_id": bundle.manifest.bundle_id,
            "evaluation": None if evaluation is None else str(evaluation),
            "out": None if out is None else str(out),
            "card": text if out is None else None,
        }
    )


def read_evaluation(path: Path, bundle: Bundle) -> Evaluation:
    """Read what `qc evaluate --json` printed of a bundle.

    Raises:
        DataError: not readable, not such an output, or of another bundle.
    """
    expected = "the output of `qc evaluate BUNDLE --json`"
    try:
        found = Evaluation.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise DataError(
            "the evaluation cannot be read", where=path, found=error.strerror
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        why = f"key '{key}': {first['msg']}" if key else first["msg"]
        raise DataError("not an evaluation", where=path, expected=expected, found=why) from error
    except ValueError as error:
        raise DataError(
            "not an evaluation", where=path, expected=expected, found=f"no JSON ({error})"
        ) from error
    if found.bundle_id != bundle.manifest.bundle_id:
        raise DataError(
            "this evaluation is of another model than the bundle",
            where=path,
            expected=f"bundle_id {bundle.manifest.bundle_id}",
            found="of a run, which has none" if found.bundle_id is None else found.bundle_id,
        )
    return found.in_order(bundle.manifest.class_names)


def threshold_words(bundle: Bundle) -> str:
    """What the thresholds were set by, and what that promises."""
    if bundle.report.get("adopted") and "val" not in bundle.report:
        return "set by hand: nothing is known of escape and overkill"
    decision = bundle.manifest.decision
    return f"{decision.escape_words}; at most {decision.max_overkill:.1%} overkill on VAL"


def signer_words(bundle: Bundle) -> str:
    """What a bundle says of its signer; nothing is checked."""
    if bundle.signature is None:
        return "not signed"
    key_id = bundle.signature.key_id
    return f"signed by key {key_id}, by its own account: `qc verify --key` checks it"


def card_of(bundle: Bundle, evaluation: Evaluation | None = None) -> str:
    """The card as Markdown.

    Args:
        bundle: an opened bundle.
        evaluation: of this very bundle, or None.
    """
    manifest = bundle.manifest
    return joined(
        [
            f"# Model card: {cell(manifest.name)} `{manifest.bundle_id}`",
            "What the sealed bundle says of itself, written by `qc card`. The sections are those of"
            '\nMitchell et al., "Model Cards for Model Reporting" (2019).',
            "## Model details",
            _details(bundle),
            "## Intended use",
            _use(bundle),
            "## Factors",
            _factors(),
            "## Metrics and thresholds",
            *_thresholds(bundle),
            "## Evaluation data",
            _evaluation_data(bundle, evaluation),
            "## Training data",
            _training_data(bundle),
            "## Quantitative analyses",
            *_analyses(bundle, evaluation),
            "## Ethical considerations",
            _facts(("people in the pictures", UNKNOWN), ("who is affected", UNKNOWN)),
            "## Caveats and recommendations",
            _caveats(bundle, evaluation),
            "## Hashes",
            _hashes(bundle),
        ]
    )


def _facts(*facts: tuple[str, str]) -> str:
    return grid(("fact", "value"), [(cell(name), cell(value)) for name, value in facts])


def _known(value: str) -> str:
    """A hash or name of the manifest; what was adopted has "none"."""
    return UNKNOWN if value in ("", "none", "none stated") else f"`{value}`"


def _details(bundle: Bundle) -> str:
    manifest, made, report = bundle.manifest, bundle.manifest.provenance, bundle.report
    height, width = manifest.preprocess.size_hw
    origin = "trained and exported by attention-qc"
    if report.get("adopted"):
        foreign = report.get("foreign", {})
        origin = (
            "made elsewhere and adopted by attention-qc, from a file with SHA-256 "
            f"{_known(str(foreign.get('sha256', '')))}"
        )
    shape = "x".join(map(str, manifest.score.shape))
    has_map = "no map: this model does not say where it looked"
    if manifest.attention is not None:
        rows_of, columns = manifest.attention.shape[1:3]
        has_map = f"class evidence on {rows_of} x {columns} cells, a second output of the model"
    return _facts(
        ("bundle id", f"`{manifest.bundle_id}`"),
        ("name", manifest.name),
        ("origin", origin),
        ("made by, and when", UNKNOWN),
        ("task", f"{manifest.task}: one score for each class"),
        ("input", f"{height} x {width} pixels, {manifest.preprocess.colour}, stretched to fit"),
        ("architecture", f"{UNKNOWN}; the recipe has the hash {_known(made.recipe_hash)}"),
        (
            "score",
            f"({shape}) {manifest.score.dtype}, temperature {manifest.decision.temperature:g}",
        ),
        ("map", has_map),
        ("quantisation", f"{manifest.scheme}; input {manifest.input.dtype}"),
        ("target", manifest.target),
        ("runtimes", ", ".join(manifest.runtimes)),
        ("model", f"{manifest.model_bytes} bytes"),
        ("seed, commit", f"{made.seed}, {_known(made.commit)}"),
        ("made with", ", ".join(f"{k} {v}" for k, v in sorted(made.versions.items()))),
        ("signature", signer_words(bundle)),
    )


def _use(bundle: Bundle) -> str:
    names = ", ".join(f"{c.name} ({c.severity})" for c in bundle.manifest.classes)
    return _facts(
        ("what it does", "judges a picture of one part: OK, NG, REVIEW or FAULT"),
        ("classes", names),
        ("parts, machine and users that it is meant for", UNKNOWN),
        ("not meant for", "kinds of defect that are not among the classes; it may pass them"),
    )


def _factors() -> str:
    return _facts(
        ("cameras, lights, suppliers, shifts", UNKNOWN),
        ("differences between them", f"{UNKNOWN}; `qc evaluate --html --metadata` looks for them"),
    )


def _thresholds(bundle: Bundle) -> list[str]:
    decision = bundle.manifest.decision
    severity = {c.name: c.severity for c in bundle.manifest.classes}
    limits = [
        (cell(name), severity[name], f"{low:.3f}", f"{decision.ng_above[name]:.3f}")
        for name, low in decision.ok_below.items()
    ]
    by_hand = bundle.report.get("adopted") and "val" not in bundle.report
    asked = [] if by_hand else [("escape asked for", percent(decision.max_escape))]
    asked += [
        (f"escape asked for, {name} defects", percent(rate))
        for name, rate in decision.severity_escape.items()
    ]
    asked += [] if by_hand else [("overkill asked for", percent(decision.max_overkill))]
    bound = decision.escape_bound
    if bound is not None:
        asked.append(
            (
                "escape bound (Clopper and Pearson, one-sided, over groups of VAL)",
                f"at most {percent(bound.bound)} with {bound.confidence:.0%} confidence: "
                f"{bound.escaped} of {bound.groups} groups escaped",
            )
        )
    return [
        "Escape: share of bad parts judged OK. Overkill: share of good parts judged NG. Below the\n"
        "first threshold a part is OK, from the second on NG, between them a person decides.",
        grid(("class", "severity", "OK below", "NG from"), limits),
        _facts(("thresholds", threshold_words(bundle)), *asked),
    ]


def _evaluation_data(bundle: Bundle, evaluation: Evaluation | None) -> str:
    val, made = _figures(bundle, "val"), bundle.manifest.provenance
    facts = [("dataset", _known(made.dataset)), ("split, SHA-256", _known(made.split_hash))]
    facts.append(("VAL, which set the thresholds", UNKNOWN if val is None else val.parts))
    said = "unknown: no evaluation was given" if evaluation is None else evaluation.parts
    facts.append(("TEST" if evaluation is None else evaluation.split.upper(), said))
    return _facts(*facts)


def _training_data(bundle: Bundle) -> str:
    made = bundle.manifest.provenance
    return _facts(
        ("dataset", _known(made.dataset)),
        ("licence of the data", _known(bundle.manifest.data_licence).strip("`")),
        ("images and groups of TRAIN", UNKNOWN),
        ("calibration images, SHA-256 of their ids", _known(made.calibration_hash)),
    )


def _figures(bundle: Bundle, key: str) -> Figures | None:
    """Figures in the report of a bundle, or None where it has none."""
    raw = bundle.report.get(key)
    try:
        found = None if raw is None else Figures.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise BundleError(
            "the report in the bundle is not valid",
            where=bundle.path,
            expected="figures of a split",
            found=f"key '{key}.{at}': {first['msg']}",
        ) from error
    return None if found is None else found.in_order(bundle.manifest.class_names)


def _analyses(bundle: Bundle, evaluation: Evaluation | None) -> list[str]:
    parts = []
    if evaluation is not None:
        parts += [f"### {evaluation.split.upper()}", *figure_parts(evaluation)]
    val, report = _figures(bundle, "val"), bundle.report
    if val is not None:
        parts += ["### VAL", *figure_parts(val, _figures(bundle, "val_float"))]
    if evaluation is None and val is None:
        parts.append(f"Figures: {UNKNOWN}.")
    gate = report.get("candidates", [])
    if gate:
        lines = [_candidate(row) for row in gate]
        head = ("scheme", "bytes", "agreement", "recall drop", "AUROC", "why not")
        parts += ["### Gate: each scheme against the float model, on VAL", grid(head, lines)]
    agreement = report.get("kernel_agreement")
    golden = Counter(bundle.golden.verdicts)
    counts = ", ".join(f"{n} {word}" for word, n in sorted(golden.items()))
    parts += [
        "### Replay",
        _facts(
            ("golden inputs", f"{sum(golden.values())}: {counts}" if golden else "none"),
            ("largest score error allowed", f"{bundle.manifest.replay_tolerance:.4f}"),
            (
                "same verdict on the kernels of the other runtime",
                UNKNOWN if agreement is None else percent(float(agreement)),
            ),
        ),
    ]
    return parts


def _candidate(row: dict[str, Any]) -> tuple[str, ...]:
    """A scheme that was tried; what could not be built has no figures."""
    share = [row.get("agreement"), row.get("recall_drop")]
    area, size = row.get("auroc"), row.get("bytes")
    return (
        cell(scheme_name(row)),
        "" if size is None else str(size),
        *("" if value is None else percent(value) for value in share),
        "" if area is None else f"{area:.3f}",
        "passes" if row.get("why_not") is None else cell(str(row["why_not"])),
    )


def _caveats(bundle: Bundle, evaluation: Evaluation | None) -> str:
    manifest, val = bundle.manifest, _figures(bundle, "val")
    said = [
        "It judges what it was taught: a kind of defect that no training image shows may pass.",
        "Its figures are of parts like those that were measured, not of every line.",
    ]
    if val is not None:
        said.append("VAL set the thresholds, so its figures are better than those of new parts.")
    if evaluation is None:
        said.append("No figures of TEST are on this card: `qc card --evaluation` adds them.")
    if not manifest.decision.promised:
        said.append("The escape rate is not promised with a confidence.")
    if manifest.attention is None:
        said.append("It has no map: where it looked is not known.")
    else:
        said.append("The map shows where the model looked, not the outline of a defect.")
    if bundle.report.get("adopted"):
        taken = bundle.report.get("defaults", [])
        said.append("Whether it has seen the measured parts in its training is not known.")
        said += [f"Taken without being told: {text}." for text in taken]
    if bundle.signature is None:
        said.append("It is not signed: who stands for it is not known.")
    return "\n".join(f"- {cell(line)}" for line in said)


def _hashes(bundle: Bundle) -> str:
    parts = [(name, digest) for name, digest in bundle.manifest.sha256.items()]
    whole = hashlib.sha256(bundle.path.read_bytes()).hexdigest()
    return grid(
        ("SHA-256 of", "hash"), [(cell(n), code(d)) for n, d in [("the whole file", whole), *parts]]
    )
