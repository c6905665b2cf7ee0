"""`qc export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from qc.card_figures import scheme_name
from qc.console import Command
from qc.errors import GateError
from qc.folders import refuse_unwritable
from qc.recipe import read_recipe
from qc.signature import read_private_key, sign_bundle
from training.backend import wake
from training.run import open_run


def export(
    running: Command,
    run: Path,
    *,
    out: Path | None,
    data: Path | None,
    target: str = "cpu",
    qat: bool = False,
    sign: Path | None = None,
    recipe: Path | None = None,
) -> None:
    """Export a finished run to a bundle.

    Args:
        running: the command.
        run: the run directory.
        out: the bundle to write, or None.
        data: the dataset, where it is no longer where the run found it.
        target: what to export for.
        qat: where int8 fails, fine-tune under simulated quantisation.
        sign: file of the key that signs the bundle, or None.
        recipe: whose `[export]` and `[decision]` take the place of those that the run was planned
            with; nothing else of it is read.
    """
    key = None if sign is None else read_private_key(sign)
    refuse_unwritable(out)
    wake(quiet=not running.verbose)
    from export.pack import export_run

    plan = open_run(run, data)
    if recipe is not None:
        asked = read_recipe(recipe)
        tables = {"export": asked.export, "decision": asked.decision}
        plan = replace(plan, recipe=plan.recipe.model_copy(update=tables))
    found = export_run(plan, out, running, target=target, qat=qat)
    if key is not None and found["bundle"] is not None:
        found["signed_by"] = sign_bundle(Path(found["bundle"]), key).key_id
    running.result(found)
    running.show(_table(found))
    for row in found["candidates"]:
        if row["why_not"] is not None:
            running.say(f"not {scheme_name(row)}: {row['why_not']}")
    for worst in found["worst_layers"]:
        running.say(
            f"int8 in {worst['layer'].split(';')[0]} alone changes the log-odds of the score by "
            f"{worst['score_change']:.3f}"
        )
    if found["noise_agreement"] is not None:
        running.say(
            "for comparison: noise of one grey level in the pictures of VAL leaves "
            f"{found['noise_agreement']:.1%} of the float model's own verdicts as they are"
        )
    if found["bundle"] is None:
        raise GateError(
            f"nothing that {target} can run passes the gate on VAL",
            where=run,
            expected="one that does; what would help: --qat, or a wider gate in [export]",
        )
    if target == "cpu":
        running.say(
            "latency is of this machine; where the line has another CPU, name a scheme in "
            "export.scheme or export there"
        )
    _say_decision(running, found["decision"])
    if "compiled" in found:
        running.say(f"for the NPU, compiled: {found['compiled']}")
    running.say(f"sealed and verified: {found['bundle']}")
    if key is not None:
        running.say(f"signed by key {found['signed_by']}")


def _table(found: dict[str, Any]) -> Table:
    """The candidates for a person."""
    title = f"candidates for {found['target']}, on VAL; > is taken"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    micro = found["target"] == "mcu"
    speed = "arena kB" if micro else "ms" if found["target"] == "cpu" else "ms est."
    columns = ("kB", speed, "AUROC", "agree", "recall", "overkill", "maps")
    table.add_column("scheme", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in found["candidates"]:
        taken = row["why_not"] is None
        cost = row.get("arena_bytes") if micro else row["latency_ms"]
        table.add_row(
            f"> {scheme_name(row)}" if taken else f"  {scheme_name(row)}",
            _number(row["bytes"] and row["bytes"] / 1024, ".0f"),
            _number(cost and cost / 1024, ".0f") if micro else _number(cost, ".2f"),
            _number(row["auroc"], ".3f"),
            _number(row["agreement"], ".1%"),
            _number(row.get("recall"), ".1%"),
            _number(row.get("overkill"), ".1%"),
            _number(row.get("map_correlation"), ".3f"),
            style="bold" if taken else None,
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _say_decision(running: Command, said: dict[str, Any]) -> None:
    running.say(f"thresholds: {said['escape']}")
    for kind, counts in said["per_1000"].items():
        judged = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        running.say(f"of 1,000 {kind} parts as in VAL: {judged}")
    if "cost_per_1000" in said:
        kinds = ", ".join(f"{k} {v:g}" for k, v in said["cost_per_1000"].items() if k != "total")
        running.say(f"1,000 parts of the line cost {said['cost_per_1000']['total']:g}: {kinds}")
    running.say(
        f"temperature {said['temperature']:g}: calibration error {said['ece_before']:.3f} before, "
        f"{said['ece_after']:.3f} after"
    )
