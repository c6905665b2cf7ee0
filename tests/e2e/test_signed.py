"""A plant that runs signed bundles alone: new key, sign, check, and a line that refuses others."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from program import Made, done, python, qc, quiet, refused, write_line


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the keys `plant` and `other`, and the id of the first."""
    folder = tmp_path_factory.mktemp("keys")
    made = done(qc("keys", "new", "plant", "--out", folder, "--json"))
    assert (made["private"], made["public"]) == (f"{folder}/plant.key", f"{folder}/plant.pub")
    assert stat.S_IMODE((folder / "plant.key").stat().st_mode) == 0o600
    done(qc("keys", "new", "other", "--out", folder, "--json"))
    return folder, made["key_id"]


@pytest.fixture
def bundle(made: Made, tmp_path: Path) -> Path:
    """A copy of the exported bundle, which is not signed."""
    return shutil.copy(made.bundle, tmp_path / "copy.tflite")


def test_a_new_key_says_where_its_halves_belong(tmp_path: Path) -> None:
    ran = qc("keys", "new", "plant", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "")
    quiet(ran)
    for words in ("plant.key: signs", "secret", "plant.pub: checks", "trusted_keys"):
        assert words in ran.err
    before = (tmp_path / "plant.key").read_bytes()
    again = qc("keys", "new", "plant", "--json", cwd=tmp_path)
    refused(again, kind="usage", where="plant.key", says=("not overwritten",))
    assert (tmp_path / "plant.key").read_bytes() == before


def test_sign_verify_show_and_inspect(
    made: Made, pictures: Path, bundle: Path, plant: tuple[Path, str]
) -> None:
    keys, key_id = plant
    before = done(qc("verify", bundle, "--json"))
    assert (before["signed_by"], before["signature_checked"]) == (None, False)
    assert done(qc("show", bundle, "--json"))["signed_by"] is None
    assert "not signed" in qc("show", bundle).err
    ran = qc("verify", bundle, "--key", keys / "plant.pub", "--json")
    refused(ran, kind="bundle", where=bundle, says=("not signed", key_id))

    signed = done(qc("keys", "sign", bundle, "--key", keys / "plant.key", "--json"))
    assert signed == {"bundle": str(bundle), "signed_by": key_id}
    old, new = done(qc("show", made.bundle, "--json")), done(qc("show", bundle, "--json"))
    assert (old.pop("signed_by"), new.pop("signed_by")) == (None, key_id)
    assert old == new  # the bundle id as well
    assert f"signed by key {key_id}" in qc("show", bundle).err

    both = ("--key", keys / "other.pub", "--key", keys / "plant.pub")
    checked = done(qc("verify", bundle, *both, "--json"))
    assert (checked["signed_by"], checked["signature_checked"]) == (key_id, True)
    found = done(qc("inspect", bundle, pictures, *both, "--json"))
    assert found["images"] and found["counts"]["FAULT"] == 1
    ran = qc("inspect", bundle, pictures, "--key", keys / "other.pub", "--json")
    refused(ran, kind="bundle", where=bundle, says=("foreign key", key_id))


def test_a_line_with_trusted_keys_starts_with_a_signed_bundle_alone(
    pictures: Path, bundle: Path, plant: tuple[Path, str], tmp_path: Path
) -> None:
    keys, _ = plant
    shutil.copy(keys / "plant.pub", tmp_path / "plant.pub")
    line = write_line(tmp_path / "line.toml", bundle, pictures)
    line.write_text('trusted_keys = ["plant.pub"]\n' + line.read_text())
    before = sorted(tmp_path.iterdir())
    refused(qc("run", line, "--json"), kind="bundle", where=bundle, says=("not signed",))
    done(qc("keys", "sign", bundle, "--key", keys / "other.key", "--json"))
    refused(qc("run", line, "--json"), kind="bundle", where=bundle, says=("foreign key",))
    assert sorted(tmp_path.iterdir()) == before  # no journal, no folder of a sink
    done(qc("keys", "sign", bundle, "--key", keys / "plant.key", "--json"))
    assert done(qc("run", line, "--json"))["captured"] == 25
    (tmp_path / "plant.pub").unlink()
    ran = qc("run", line, "--json")
    refused(ran, kind="usage", where=tmp_path / "plant.pub", says=("No such file",))


def test_export_signs_what_it_sealed(
    made: Made, bundle: Path, plant: tuple[Path, str], tmp_path: Path
) -> None:
    keys, key_id = plant
    out = tmp_path / "out.tflite"
    ran = qc("export", made.run, "--out", out, "--sign", keys / "plant.key", "--json")
    found = done(ran)
    assert (found["bundle"], found["signed_by"]) == (str(out), key_id)
    assert f"signed by key {key_id}" in ran.err
    done(qc("keys", "sign", bundle, "--key", keys / "plant.key", "--json"))
    assert out.read_bytes() == bundle.read_bytes()


def test_export_refuses_a_bad_key_before_the_work(tmp_path: Path, plant: tuple[Path, str]) -> None:
    public = plant[0] / "plant.pub"
    ran = qc("export", tmp_path / "nowhere", "--sign", public, "--json")  # of the run, not a word
    refused(ran, kind="usage", where=public, says=("not the private key", "a public key"))


_WITHOUT = """
import sys
sys.modules["cryptography"] = None
from qc.cli import app
app()
"""


def test_without_the_package_an_unsigned_line_runs_and_a_signed_one_says_what_is_missing(
    made: Made, pictures: Path, plant: tuple[Path, str], tmp_path: Path
) -> None:
    line = write_line(tmp_path / "line.toml", made.bundle, pictures, sinks=False)
    assert done(python("-c", _WITHOUT, "run", line, "--json"))["captured"] == 25
    line.write_text(f'trusted_keys = ["{plant[0] / "plant.pub"}"]\n' + line.read_text())
    ran = python("-c", _WITHOUT, "run", line, "--json")
    refused(ran, kind="usage", where="cryptography", says=("pip install 'attention-qc[edge]'",))
