"""Every question about a foreign model, answered by its file, by the TOML, or not at all.

What a bundle must know and nobody has said is not guessed: all open questions are asked in one
error, with a TOML that would answer them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from export.adopt_table import EVERY, AdoptTable, Scores, require_defects
from export.foreign import Foreign
from export.foreign_range import Pairs, fits, held, plain_range, range_words
from qc.decide import DecisionSpec
from qc.errors import RecipeError, nearest
from qc.types import Task

_ACTIVATION: dict[str, Literal["none", "softmax", "sigmoid"]] = {
    "softmax": "none",
    "sigmoid": "none",
    "logits": "softmax",
    "sigmoid_logits": "sigmoid",
}
_NO_RATE = 0.999
"""Nothing is known of thresholds that were set by hand, so nothing is promised."""


@dataclass(frozen=True)
class Answers:
    """All that the manifest needs beside thresholds and golden inputs.

    Args:
        classes: names in the order of the label file.
        good: the class of good parts.
        task, colour, input_range, activation: as in the manifest.
        scores: what the outputs are, in the word of the TOML.
        severity: of each class.
        defaults: what was taken without being asked, in words.
    """

    classes: tuple[str, ...]
    good: str
    task: Task
    colour: Literal["rgb", "grey"]
    input_range: Pairs
    activation: Literal["none", "softmax", "sigmoid"]
    scores: Scores
    severity: Mapping[str, str]
    defaults: tuple[str, ...]

    @property
    def independent(self) -> bool:
        """Each defect has a probability of its own."""
        return self.task != "multiclass" or self.scores.startswith("sigmoid")

    @property
    def defects(self) -> tuple[str, ...]:
        """All classes but the good one."""
        return tuple(name for name in self.classes if name != self.good)


class _Talk:
    """Collects what was taken without asking, and what must be asked."""

    def __init__(self, foreign: Foreign, labels: Sequence[str], table: AdoptTable, where: Path):
        self.foreign, self.labels, self.table, self.where = foreign, labels, table, where
        self.defaults: list[str] = []
        self.questions: list[str] = []
        self.example: list[str] = []

    def ask(self, question: str, *example: str) -> None:
        self.questions.append(question)
        self.example += example

    def refuse(self, what: str, expected: object, found: object) -> RecipeError:
        return RecipeError(what, where=self.where, expected=expected, found=found)


def answer(foreign: Foreign, labels: tuple[str, ...], table: AdoptTable, where: Path) -> Answers:
    """Answer every question, or ask all that are open.

    Args:
        foreign: the model.
        labels: its classes.
        table: what a person said.
        where: the TOML, or the model where there is none, for an error.

    Raises:
        RecipeError: a question is open, or an answer contradicts the model.
    """
    talk = _Talk(foreign, labels, table, where)
    good = _good(talk)
    pairs = _input_range(talk)
    scores = _scores(talk)
    if table.thresholds is None and table.data is None:
        talk.ask(
            "From which defect score on is a part suspicious, and from which on is it bad? Two "
            "thresholds; or a dataset to fit them on: tables [data] and [decision], as in a recipe "
            "(then without images)."
        )
    if table.images is None and table.data is None:
        talk.ask(
            "Which pictures prove that the model still gives the same on another machine? A folder "
            "of at least 16 parts, good and bad.",
            'images = "pictures"',
        )
    if table.thresholds is None and table.data is None:
        talk.example += ["", "[thresholds]", "ok_below = 0.3", "ng_above = 0.7"]
    if good is None or pairs is None or scores is None or talk.questions:
        raise _open(talk)
    _refuse_lone_good(talk, good)
    severity = _severity(talk, good)
    return Answers(
        classes=labels,
        good=good,
        task=_task(talk, scores),
        colour=_colour(talk),
        input_range=pairs,
        activation=_ACTIVATION[scores],
        scores=scores,
        severity=severity,
        defaults=tuple(talk.defaults),
    )


def by_hand_of(table: AdoptTable, answers: Answers, where: Path) -> DecisionSpec:
    """The thresholds that the TOML gives for every defect class.

    Raises:
        RecipeError: a class without a threshold, one that is not there, or a number that is wrong.
    """
    assert table.thresholds is not None  # it was asked for
    defects = answers.defects
    found: dict[str, dict[str, float]] = {}
    for key in ("ok_below", "ng_above"):
        given: dict[str, float] = getattr(table.thresholds, key)
        if set(given) == {EVERY}:
            given = dict.fromkeys(defects, given[EVERY])
        require_defects(f"thresholds.{key}", given, defects, where)
        missing = [name for name in defects if name not in given]
        if missing:
            raise RecipeError(
                f"thresholds.{key} lacks a class",
                where=where,
                expected=f"a number for each of {', '.join(defects)}, or one for all",
                found=f"none for {', '.join(missing)}",
            )
        found[key] = {name: given[name] for name in defects}
    try:
        return DecisionSpec(
            ok_below=found["ok_below"],
            ng_above=found["ng_above"],
            max_escape=_NO_RATE,
            max_overkill=_NO_RATE,
            independent=answers.independent,
        )
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["ctx"]["error"]
        raise RecipeError(str(why), where=where, expected="both between 0 and 1") from error


def _open(talk: _Talk) -> RecipeError:
    asked = [f"  {i}. {q}" for i, q in enumerate(talk.questions, start=1)]
    what = "1 question is" if len(asked) == 1 else f"{len(asked)} questions are"
    place = "a file for --manifest" if talk.where == talk.foreign.path else "this file"
    lines = [
        f"{what} open that the model's file does not answer",
        *asked,
        f"Answer in {place}, for example:",
        "",
        *talk.example,
    ]
    return RecipeError("\n".join(lines), where=talk.where)


def _good(talk: _Talk) -> str | None:
    good: str | None = talk.table.either("good", "good")
    if good is None:
        names = ", ".join(talk.labels)
        talk.ask(
            f"Which class is that of good parts: {names}?", f"good = {json.dumps(talk.labels[0])}"
        )
    elif good not in talk.labels:
        near = nearest(good, talk.labels)
        hint = f", did you mean {near!r}?" if near else ""
        raise talk.refuse(
            f"the good class is not a label{hint}",
            f"one of {', '.join(talk.labels)} (a good class without an output of its own stands "
            "in the label file too)",
            repr(good),
        )
    return good


def _refuse_lone_good(talk: _Talk, good: str) -> None:
    """Training numbers labels from 0, and a single output is the score of number 1."""
    if talk.foreign.outputs != 1:
        return
    if talk.labels[1] == good:
        raise talk.refuse(
            f"the one output is the score of {good!r} where the labels stand in the order of "
            "training, and a bundle needs the score of the defect",
            f"a model that gives the score of {talk.labels[0]!r}; if this one does, the label file "
            f"with {good!r} first",
            ", ".join(talk.labels),
        )
    talk.defaults.append(f"the one output is the score of {talk.labels[1]!r}, the second label")


def _input_range(talk: _Talk) -> Pairs | None:
    table, spec = talk.table, talk.foreign.input
    said = table.input_range if table.normalise is None else table.normalise.pairs
    if said is not None:
        if len(said) not in (1, talk.foreign.channels) or any(a >= b for a, b in said):
            raise talk.refuse(
                "the input range does not fit the model",
                f"one rising pair, or {talk.foreign.channels}, one for each channel",
                range_words(said),
            )
        if not fits(spec, said):
            what = f"the input range is not that of the model's {spec.dtype} tensor"
            raise talk.refuse(what, held(spec), range_words(said))
        return said
    metadata = talk.foreign.said_range
    if metadata is not None and fits(spec, metadata):
        talk.defaults.append(f"input range {range_words(metadata)}, as the model's metadata says")
        return metadata
    plain = plain_range(spec)
    if plain is not None:
        value = "value" if spec.dtype == "uint8" else "value less 128"
        talk.defaults.append(
            f"the {spec.dtype} input stores the pixel {value}; by its scale and zero point that is "
            f"{range_words((plain,))}"
        )
        return (plain,)
    kind = "" if spec.dtype == "float32" else f" Its {spec.dtype} tensor can hold {held(spec)}."
    talk.ask(
        "What does the model expect for black and for white: 0..1, -1..1, 0..255?"
        + kind
        + " Where "
        'training took off a mean: normalise = { pixels = "0..1", mean = [...], std = [...] }.',
        "input_range = [0, 1]",
    )
    return None


def _scores(talk: _Talk) -> Scores | None:
    said, ends_in = talk.table.scores, talk.foreign.ends_in
    whole = talk.foreign.outputs == len(talk.labels)
    if ends_in is not None and said not in (None, ends_in):
        kind = "SOFTMAX" if ends_in == "softmax" else "LOGISTIC"
        raise talk.refuse(
            f"the model's last operation is {kind}: its scores are probabilities already",
            f'scores = "{ends_in}", or no such key',
            repr(said),
        )
    scores = said or ends_in
    if scores in ("softmax", "logits") and not whole:
        raise talk.refuse(
            "a softmax needs a score of the good class too",
            f"{len(talk.labels)} outputs",
            f"{talk.foreign.outputs}",
        )
    if scores is None:
        talk.ask(
            "What do the outputs hold? The last operation is neither a softmax nor a sigmoid: "
            '"logits" that a softmax makes probabilities, "sigmoid_logits" that a sigmoid does, or '
            'already "softmax" or "sigmoid" probabilities.',
            f'scores = "{"logits" if whole else "sigmoid_logits"}"',
        )
    elif said is None:
        kind = "SOFTMAX" if scores == "softmax" else "LOGISTIC"
        talk.defaults.append(f"scores are {scores} probabilities: the last operation is {kind}")
    return scores


def _task(talk: _Talk, scores: Scores) -> Task:
    said, several = talk.table.task, len(talk.labels) > 2
    if said == "binary" and several:
        raise talk.refuse("a binary task has one defect class", "2 labels", len(talk.labels))
    if said == "multilabel" and not scores.startswith("sigmoid"):
        raise talk.refuse(
            "several defects at once need scores of their own", "sigmoid scores", scores
        )
    if said is not None:
        return said
    task: Task = "multilabel" if scores.startswith("sigmoid") else "multiclass"
    task = task if several else "binary"
    talk.defaults.append(f"task {task}")
    return task


def _colour(talk: _Talk) -> Literal["rgb", "grey"]:
    said: Literal["rgb", "grey"] | None = talk.table.either("colour", "colour")
    one = talk.foreign.channels == 1
    if one and said == "rgb":
        raise talk.refuse("a model with one channel sees no colour", 'colour = "grey"', said)
    if said is None:
        said = "grey" if one else "rgb"
        talk.defaults.append(f"colour {said}" + (": the luma, as the one channel" if one else ""))
    return said


def _severity(talk: _Talk, good: str) -> dict[str, str]:
    said: dict[str, str] = talk.table.either("severity", "severity") or {}
    defects = [name for name in talk.labels if name != good]
    require_defects("severity", said, defects, talk.where)
    unsaid = [name for name in defects if name not in said]
    if unsaid:
        talk.defaults.append(f"severity major: {', '.join(unsaid)}")
    return {good: "good", **dict.fromkeys(defects, "major"), **said}
