"""The judge of the mutation tests: a survivor that nobody has looked at fails."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = spec_from_file_location("survivors", ROOT / "tests" / "mutation" / "survivors.py")
assert _SPEC is not None and _SPEC.loader is not None
survivors = module_from_spec(_SPEC)
_SPEC.loader.exec_module(survivors)

NAMES = [f"qc.decide.x_decide__mutmut_{n}" for n in range(1, 5)]


def _judged(folder: Path, *codes: int | None, known: str = "") -> int:
    (folder / "qc").mkdir(exist_ok=True)
    meta = {"exit_code_by_key": dict(zip(NAMES, codes, strict=False))}
    (folder / "qc" / "decide.py.meta").write_text(json.dumps(meta))
    (folder / "qc" / "types.py.meta").write_text('{"exit_code_by_key": {}}')
    (folder / "known.md").write_text(known)
    return int(survivors.main(folder, folder / "known.md"))


def test_all_killed_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _judged(tmp_path, 1, 1, -11, -24) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split("\t")[2:4] == ["killed", "of them timed out"]
    assert said[1:] == ["decide\t4\t4\t1\t0\t0"]


@pytest.mark.parametrize("code", [0, 5, 33])
def test_a_survivor_fails_until_it_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    assert _judged(tmp_path, 1, code) == 1
    assert "not in" in (said := capsys.readouterr()).err and "x_decide__mutmut_2" in said.err
    assert _judged(tmp_path, 1, code, known="| `decide.x_decide__mutmut_2` | the same |") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["decide\t2\t1\t0\t1\t1"]
    assert _judged(tmp_path, 1, code, known="`decide.x_decide__mutmut_21`") == 1


def test_what_did_not_run_is_no_good_news(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _judged(tmp_path, 1, None) == 2
    assert "not tried" in capsys.readouterr().err
    assert _judged(tmp_path) == 2
    assert "no mutants" in capsys.readouterr().err
