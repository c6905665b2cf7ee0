"""A split that tears pictures of one thing apart is refused, whoever made it."""

from __future__ import annotations

import csv
from pathlib import Path

from program import Made, done, qc, recipe_with, refused

from qc.imageio import read_image, write_png


def test_what_tears_pictures_of_one_thing_apart_is_refused(
    made: Made, few: Path, tmp_path: Path
) -> None:
    """Every part is there twice, once darker, and nothing says that they belong together."""
    (few / "groups.csv").unlink()
    for kind in ("good", "hole"):
        for file in sorted((few / kind).glob("lot??_????.png")):
            write_png(file.with_name(f"dark{file.name}"), read_image(file) // 4 * 3)
    ran = qc("data", "split", few, "--out", tmp_path / "split.csv", "--json")
    refused(ran, kind="data", where=few, says=("leaks", "dark", "--infer-groups", "(train)"))
    assert not (tmp_path / "split.csv").exists()
    recipe = recipe_with(made, tmp_path, 'split = "split.csv"\n', "")
    ran = qc("train", recipe, "--data", few, "--runs", tmp_path / "runs", "--json")
    refused(ran, kind="data", where=few, says=("leaks", "dark", "--infer-groups"))
    assert not (tmp_path / "runs").exists()
    ran = qc("data", "split", few, "--out", tmp_path / "split.csv", "--infer-groups", "--json")
    assert done(ran)["crossing_groups"] == []
    with (tmp_path / "split.csv").open(newline="") as file:
        rows = {row["sample_id"]: row["split"] for row in csv.DictReader(file)}
    for name, split in rows.items():
        kind, _, file_name = name.partition("/")
        if kind in ("good", "hole") and not file_name.startswith("dark"):
            assert rows[f"{kind}/dark{file_name}"] == split
