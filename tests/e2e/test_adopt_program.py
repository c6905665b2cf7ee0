"""A model made elsewhere, by the program: adopt, verify, show, inspect; and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="tensorflow is not installed")
pytest.importorskip("ai_edge_litert.schema_py_generated")

from program import done, qc, quiet, refused, write_line
from unit.foreign_models import (
    Edit,
    changed,
    custom,
    model,
    more_borders,
    on_input,
    on_output,
    photographs,
    red_parts,
)

from edge.commands import occluder
from qc.imageio import read_image

BY_HAND = """
good = "good"
input_range = [0, 1]
images = "pictures"

[thresholds]
ok_below = 0.3
ng_above = 0.7
"""
ON_VAL = """
input_range = [0, 1]

[data]
path = "parts"
good = "good"

[decision]
max_escape = 0.05
max_overkill = 0.05
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of how red the reddest place is, its labels, and drawn parts with red defects."""
    home = tmp_path_factory.mktemp("adopt")
    (home / "red.tflite").write_bytes(model("red"))
    (home / "labels.txt").write_text("good\ndefect\n")
    (home / "hand.toml").write_text(BY_HAND)
    (home / "val.toml").write_text(ON_VAL)
    red_parts(home / "parts")
    (home / "pictures").mkdir()
    for file in (home / "parts").glob("*/lot00_????.png"):
        shutil.copy(file, home / "pictures" / f"{file.parent.name}_{file.name}")
    return home


@pytest.fixture(scope="module")
def bundle(home: Path) -> Path:
    ran = qc(
        "adopt",
        "red.tflite",
        "--labels",
        "labels.txt",
        "--manifest",
        "hand.toml",
        "--json",
        cwd=home,
    )
    found = done(ran)
    assert found["map"] is None and found["thresholds"]["by"] == "hand"
    assert found["golden"]["verdicts"] == {"OK": 12, "NG": 12}
    assert "no map: this model does not say where it looked" in ran.err
    assert "nothing is known of escape and overkill" in ran.err
    return home / found["bundle"]


def test_verify_and_show(home: Path, bundle: Path) -> None:
    found = done(qc("verify", bundle, "--json"))
    assert found["ok"] and found["golden"] == found["golden"] | {"n": 24, "verdict_flips": 0}
    ran = qc("show", bundle, "--json")
    shown = done(ran)
    assert (shown["attention"], shown["scheme"], shown["task"]) == (None, "float32", "binary")
    assert [c["name"] for c in shown["classes"]] == ["good", "defect"]
    assert "no map: this model does not say where it looked" in ran.err
    assert "set by hand: nothing is known" in ran.err


def test_inspect_draws_an_occlusion_map_of_the_flagged_parts(
    home: Path, bundle: Path, tmp_path: Path
) -> None:
    ran = qc("inspect", bundle, home / "pictures", "--occlusion", "--out", tmp_path, "--json")
    found = done(ran)
    assert found["counts"] == {"OK": 12, "NG": 12, "REVIEW": 0, "FAULT": 0}
    for row in found["images"]:
        is_good = Path(row["path"]).name.startswith("good")
        assert row["verdict"] == ("OK" if is_good else "NG")
        assert row.get("map") == (None if is_good else "occlusion")
        assert (row["overlay"] is None) == is_good
    (hole,) = (row for row in found["images"] if "hole_lot00_0003" in row["path"])
    drawn = read_image(Path(hole["overlay"]))[:384].astype(int)
    plain = read_image(Path(hole["path"])).repeat(4, axis=0).repeat(4, axis=1).astype(int)
    painted = np.abs(drawn - plain).sum(axis=2) > 60
    mask = read_image(home / "parts" / "hole" / "lot00_0003_mask.png")[..., 0].repeat(4, 0)
    ys, xs = np.nonzero(mask.repeat(4, 1) > 127)
    rows, columns = np.nonzero(painted)
    assert painted.mean() < 0.1
    assert abs(rows.mean() - ys.mean()) < 32 and abs(columns.mean() - xs.mean()) < 32  # one cell


def test_without_occlusion_the_overlay_has_no_map(home: Path, bundle: Path, tmp_path: Path) -> None:
    picture = home / "pictures" / "hole_lot00_0003.png"
    (row,) = done(qc("inspect", bundle, picture, "--out", tmp_path, "--json"))["images"]
    assert (row["verdict"], row["map"]) == ("NG", None)
    drawn = read_image(Path(row["overlay"]))[:384]
    assert (drawn == read_image(picture).repeat(4, axis=0).repeat(4, axis=1)).all()
    ran = qc("inspect", bundle, picture, "--occlusion", "--json")
    assert ran.code == 2 and "--out" in ran.json["error"]["message"]


def test_the_station_draws_one_of_what_a_line_judged(
    home: Path, bundle: Path, tmp_path: Path
) -> None:
    testclient = pytest.importorskip("starlette.testclient", reason="extra station")
    from edge.station.app import create_app

    line = write_line(tmp_path / "line.toml", bundle, home / "pictures", sinks=False)
    ran = done(qc("run", line, "--json"))
    assert (ran["ok"], ran["ng"]) == (12, 12)
    station = testclient.TestClient(
        create_app(tmp_path / "journal.sqlite", "Ann", occluder=occluder(bundle))
    )
    parts = station.get("/api/parts").json()["parts"]
    (href,) = (part["href"] for part in parts if part["name"] == "hole_lot00_0003")
    assert "Draw an occlusion map" in station.get(href).text
    assert "score lost where hidden" in station.get(f"{href}?occlusion=true").text
    assert station.get(f"{href}/occlusion.png").headers["content-type"] == "image/png"
    ran = qc("review", tmp_path / "journal.sqlite", "--bundle", home / "red.tflite", "--json")
    refused(ran, kind="bundle", where=home / "red.tflite", says=("not a bundle",))


def test_thresholds_from_the_val_of_a_dataset(home: Path, tmp_path: Path) -> None:
    """The dataset calls the defect by four names, the model by one."""
    told = ("--labels", home / "labels.txt", "--manifest", home / "val.toml")
    ran = qc("adopt", home / "red.tflite", *told, "--out", tmp_path / "b.tflite", "--json")
    found = done(ran)
    assert found["thresholds"]["by"] == "VAL" and found["val"]["auroc"] == 1
    assert found["val"]["classes"] == {"good": 12, "defect": 12}
    assert (found["val"]["escape"], found["val"]["overkill"]) == (0, 0)
    assert "whether the model has seen these parts in training is not known here" in ran.err
    shown = done(qc("show", tmp_path / "b.tflite", "--json"))
    assert shown["provenance"]["split_hash"] != "none"
    assert shown["decision"]["max_escape"] == 0.05


def test_a_model_of_uint8_needs_no_range(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(model("uint8"))
    (tmp_path / "labels.txt").write_text("good\nscratch\ndent\n")
    (tmp_path / "told.toml").write_text(BY_HAND.replace("input_range = [0, 1]\n", ""))
    photographs(tmp_path / "pictures", 48)
    told = ("--labels", "labels.txt", "--manifest", "told.toml")
    found = done(qc("adopt", "m.tflite", *told, "--json", cwd=tmp_path))
    assert (found["scheme"], found["scores"]) == ("int8", "softmax")
    assert found["input"]["range"][0] == pytest.approx([0, 1], abs=0.01)
    assert done(qc("verify", tmp_path / "m-bundle.tflite", "--json"))["ok"]


BOXES = ([1, 10, 4], [1, 10], [1, 10], [1])


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (more_borders(outputs=BOXES), "several outputs, as detection does"),
        (custom("TFLite_Detection_PostProcess"), "this model finds objects"),
        (on_output(shape=[1, 48, 48, 2]), "a map and no scores, as segmentation does"),
        (more_borders(inputs=1), "the model has 2 inputs"),
        (on_input(shape=[1, 48, 144]), "input is not a picture"),
        (on_input(shape=[1, 3, 48, 48]), "channels first (NCHW)"),
        (custom("MyOp"), "custom operations, which no line's runtime has"),
        (None, "truncated or damaged"),
    ],
)
def test_what_no_bundle_can_hold_is_one_clear_error(
    home: Path, tmp_path: Path, edit: Edit | None, says: str
) -> None:
    data, file = model("red"), tmp_path / "odd.tflite"
    file.write_bytes(data[:1000] if edit is None else changed(data, edit))
    told = ("--labels", home / "labels.txt", "--manifest", home / "hand.toml")
    message = refused(qc("adopt", file, *told, "--json"), kind="bundle", where=file, says=(says,))
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == [file]


def test_labels_that_are_too_many(home: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("good\nscratch\ndent\nhole\n")
    told = ("--labels", labels, "--manifest", home / "hand.toml", "--out", tmp_path / "b.tflite")
    says = ("the labels do not fit the model", "expected 2", "found 4: good, scratch, dent, hole")
    refused(qc("adopt", home / "red.tflite", *told, "--json"), kind="data", where=labels, says=says)


def test_a_float_input_without_a_range_is_asked_for_and_the_answer_given_is_legal(
    home: Path, tmp_path: Path
) -> None:
    for name in ("red.tflite", "labels.txt"):
        shutil.copy(home / name, tmp_path)
    (tmp_path / "pictures").symlink_to(home / "pictures")
    ran = qc("adopt", "red.tflite", "--labels", "labels.txt", "--json", cwd=tmp_path)
    assert ran.code == 2
    quiet(ran)
    error = ran.json["error"]
    assert (error["kind"], error["where"]) == ("recipe", "red.tflite")
    assert "What does the model expect for black and for white: 0..1, -1..1, 0..255?" in ran.err
    example = error["message"].split("for example:\n")[1]
    (tmp_path / "told.toml").write_text(example.replace("input_range = [0, 1]\n", ""))
    told = ("--labels", "labels.txt", "--manifest", "told.toml", "--json")
    message = qc("adopt", "red.tflite", *told, cwd=tmp_path).json["error"]["message"]
    assert message.startswith("1 question is open") and "0..1, -1..1, 0..255?" in message
    (tmp_path / "told.toml").write_text(example)
    assert done(qc("adopt", "red.tflite", *told, cwd=tmp_path))["thresholds"]["by"] == "hand"
