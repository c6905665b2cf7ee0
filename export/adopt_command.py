"""`qc adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.adopt import adopt_model
from export.foreign_range import range_words
from qc.console import Command


def adopt(
    running: Command, model: Path, *, labels: Path, manifest: Path | None, out: Path | None
) -> None:
    """Make a bundle of a TFLite classifier made elsewhere, and say what it is."""
    found = adopt_model(model, labels, manifest, out, running.step)
    running.result(found)
    shape = " x ".join(str(n) for n in found["input"]["shape"][1:])
    pairs = tuple(tuple(pair) for pair in found["input"]["range"])
    classes = ", ".join(f"{name} ({severity})" for name, severity in found["classes"].items())
    running.say(
        f"{found['scheme']} model, input {shape} {found['input']['dtype']}, black to white "
        f"{range_words(pairs)}; scores: {found['scores']}\n"
        f"classes: {classes}\n"
        "no map: this model does not say where it looked; qc inspect --occlusion draws one"
    )
    for text in found["unused_outputs"]:
        running.say(f"not used: output {text}")
    for text in found["defaults"]:
        running.say(f"not asked, taken: {text}")
    if len(found["runtimes"]) == 1:
        running.say(f"for {found['runtimes'][0]} alone: the model is {found['scheme']}")
    _say_thresholds(running, found)
    golden = ", ".join(f"{n} {verdict}" for verdict, n in found["golden"]["verdicts"].items())
    running.say(f"{found['golden']['n']} golden inputs: {golden}")
    if len(found["golden"]["verdicts"]) == 1:
        running.say("warning: all have one verdict; pictures of good and bad parts prove more")
    if found["same_score_on_every_picture"]:
        running.say(
            "warning: every picture gets the same scores; is input_range what the model expects?"
        )
    running.say(f"sealed and verified: {found['bundle']}")


def _say_thresholds(running: Command, found: dict[str, Any]) -> None:
    thresholds = found["thresholds"]
    for name, low in thresholds["ok_below"].items():
        running.say(f"{name}: OK below {low:.3f}, NG from {thresholds['ng_above'][name]:.3f}")
    val = found["val"]
    if val is None:
        running.say("thresholds are set by hand: nothing is known of escape and overkill")
        return
    low, high = val["auroc_ci"] or (float("nan"), float("nan"))
    running.say(
        f"on VAL ({val['n']} parts, {val['groups']} groups): AUROC {val['auroc']:.3f} "
        f"[{low:.3f}, {high:.3f}], escape {val['escape']:.1%}, overkill {val['overkill']:.1%}, "
        f"review {val['review']:.1%}\n"
        "whether the model has seen these parts in training is not known here"
    )
