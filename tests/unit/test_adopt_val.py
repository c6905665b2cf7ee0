"""`qc adopt` with a labelled dataset: thresholds from its VAL, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="tensorflow is not installed")
pytest.importorskip("ai_edge_litert.interpreter")

from adopting import TWO, adopt
from foreign_models import red_parts

from qc.bundle import open_bundle
from qc.decide import DecisionSpec
from qc.errors import DataError, GateError, QCError

RED = "input_range = [0, 1]\n"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_parts(tmp_path_factory.mktemp("red") / "parts")


def on_val(
    folder: Path, parts: Path, *, kind: str = "red", told: str = RED, data: str = 'good = "good"'
) -> dict[str, Any]:
    text = f'{told}[data]\npath = "{parts}"\n{data}\n[decision]\nmax_escape = 0.1\n'
    return adopt(folder, kind, text, TWO if kind == "red" else None)


def test_thresholds_stand_between_good_and_bad(tmp_path: Path, parts: Path) -> None:
    """By its making the model gives 0.99 for what is painted red, and 0.01 for grey."""
    found = on_val(tmp_path, parts)
    low, high = (found["thresholds"][k]["scratch"] for k in ("ok_below", "ng_above"))
    assert 0.02 < low <= high < 0.98
    assert found["val"] == found["val"] | {"n": 24, "escape": 0, "overkill": 0, "review": 0}
    bundle = open_bundle(Path(found["bundle"]))
    assert isinstance(bundle.manifest.decision, DecisionSpec)
    assert bundle.manifest.decision.max_escape == 0.1
    assert bundle.report["val"] == found["val"] and "escape_ci" in found["val"]
    assert bundle.manifest.provenance.dataset == str(parts)
    assert set(bundle.golden.verdicts) == {"OK", "NG"}


def mirrored(parts: Path, folder: Path) -> Path:
    """Red parts called good and grey ones called bad."""
    for old, new in {"good": "bad", "scratch": "good", "hole": "good", "stain": "good"}.items():
        (folder / new).mkdir(parents=True, exist_ok=True)
        for file in (parts / old).glob("lot??_????.png"):
            (folder / new / file.name).write_bytes(file.read_bytes())
    rows = [f"{f.parent.name}/{f.name},{f.name[:5]}" for f in sorted(folder.glob("*/*.png"))]
    (folder / "groups.csv").write_text("\n".join(["path,group", *rows]) + "\n")
    return folder


def test_scores_that_point_the_wrong_way_are_refused(tmp_path: Path, parts: Path) -> None:
    with pytest.raises(GateError, match=r"higher on good parts than on bad ones.*found 0\.000"):
        on_val(tmp_path, mirrored(parts, tmp_path / "mirrored"))


@pytest.mark.parametrize(
    ("kind", "told", "data", "error", "says"),
    [
        (
            "uint8",
            "",
            'good = "good"',
            DataError,
            "model does not know.*good, scratch, dent; found",
        ),
        ("red", RED, 'good = "scratch"', QCError, "is the score of 'scratch'"),
        ("red", RED, 'good = "good"\nsplit = "none.csv"', DataError, "none.csv"),
        ("red", 'good = "goo"\n' + RED, 'good = "good"', QCError, "say it once"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(
    tmp_path: Path,
    parts: Path,
    kind: str,
    told: str,
    data: str,
    error: type[QCError],
    says: str,
) -> None:
    with pytest.raises(error, match=says):
        on_val(tmp_path, parts, kind=kind, told=told, data=data)


def test_a_dataset_without_good_parts_is_refused(tmp_path: Path, parts: Path) -> None:
    (tmp_path / "bad" / "scratch").mkdir(parents=True)
    for file in (parts / "scratch").glob("lot??_????.png"):
        (tmp_path / "bad" / "scratch" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=r"good class is not in the dataset.*'good'; found scratch"):
        on_val(tmp_path, tmp_path / "bad")
