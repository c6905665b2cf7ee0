"""The audit of the dependencies: what is not looked at is never taken for good news."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = spec_from_file_location("dependency_audit", ROOT / "tests" / "audit" / "audit.py")
assert _SPEC is not None and _SPEC.loader is not None
tool = module_from_spec(_SPEC)
_SPEC.loader.exec_module(tool)

REAL = Path(os.environ.get("QC_AUDIT_TOOLS", ROOT / ".audit" / "tools" / "bin"))
CLEAN = {"name": "Alpha_One", "version": "1.0", "vulns": []}
HOLED = {
    "name": "beta",
    "version": "2.1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.2"], "aliases": [], "description": "d"}],
}
SKIPPED = {"name": "beta", "skip_reason": "Dependency not found and could not be audited"}


def _program(file: Path, code: str) -> None:
    file.write_text(f"#!{sys.executable}\nimport json, sys\n{code}\n")
    file.chmod(0o755)


def _tools(
    folder: Path, answers: list[dict[str, Any]] | None, code: int = 0, lost: str = ""
) -> Path:
    """Programs in the place of the tools: pip-audit gives `answers`, or none and an error.

    The bill of materials lists what is installed, but for `lost`.
    """
    tools = folder / "tools"
    tools.mkdir()
    said = json.dumps(json.dumps({"dependencies": answers}))
    write = f"open(sys.argv[sys.argv.index('-o') + 1], 'w').write({said})" if answers else "pass"
    words = "sys.stderr.write('Traceback\\nConnectionError: no such host\\n')"
    _program(tools / "pip-audit", f"{write}\n{'pass' if answers else words}\nsys.exit({code})")
    # an interpreter whose environment holds three distributions
    _program(tools / "python", "print(['numpy', 'Odd_Name', 'attention-qc'])")
    _program(
        tools / "cyclonedx-py",
        "here = [{'type': 'distribution', 'url': 'file:///somewhere'}]\n"
        "home = [{'type': 'website', 'url': 'https://example.org'}]\n"
        "rows = [{'name': n, 'version': '1', 'externalReferences': here + home}\n"
        f"        for n in ('numpy', 'odd-name', 'attention-qc') if n != {lost!r}]\n"
        "open(sys.argv[sys.argv.index('-o') + 1], 'w').write(json.dumps({'components': rows}))",
    )
    return tools


def _audited(
    folder: Path, tools: Path, *more: str, pins: str = "alpha.one==1.0\nbeta==2.1\n"
) -> int:
    constraints = folder / "constraints.txt"
    constraints.write_text(pins)
    return int(
        tool.main(
            [
                *("--out", str(folder / "out"), "--constraints", str(constraints)),
                *("--environment", f"all={tools / 'python'}", "--tools", str(tools), *more),
            ]
        )
    )


def _bill(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "sbom-all.json").read_text())
    return found


def test_nothing_known_of_every_package_is_good_news(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = [CLEAN, {**CLEAN, "name": "beta", "version": "2.1"}]
    assert _audited(tmp_path, _tools(tmp_path, clean)) == 0
    assert "2 pinned versions, 0 known vulnerabilities" in capsys.readouterr().out
    assert [c["name"] for c in _bill(tmp_path)["components"]] == [
        "numpy",
        "odd-name",
        "attention-qc",
    ]
    text = (tmp_path / "out" / "sbom-all.json").read_text()
    assert "file:" not in text and "https://example.org" in text


def test_a_known_vulnerability_is_told_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _audited(tmp_path, _tools(tmp_path, [CLEAN, HOLED], code=1)) == 1
    assert "beta: PYSEC-1, mended in 2.2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [
        (None, 1, "gave no answer (pip-audit ended with 1): ConnectionError: no such host"),
        ([CLEAN, SKIPPED], 0, "1 of 2 packages were not looked at: the vulnerability service"),
        ([CLEAN], 0, "1 of 2 packages were not looked at"),
        ([CLEAN, {**HOLED, "version": "2.0"}], 1, "1 of 2 packages were not looked at"),
        ([CLEAN, {**CLEAN, "name": "beta", "version": "2.1"}], 1, "pip-audit ended with 1"),
        ([CLEAN, HOLED], 0, "pip-audit ended with 0"),
    ],
)
def test_what_is_not_looked_at_is_said_and_the_bill_is_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: list[dict[str, Any]] | None,
    code: int,
    says: str,
) -> None:
    assert _audited(tmp_path, _tools(tmp_path, answers, code)) == 3
    said = capsys.readouterr()
    assert "error NOT AUDITED: " in said.err and says in said.err
    assert "known vulnerabilities" not in said.out
    assert len(_bill(tmp_path)["components"]) == 3


def test_an_answer_of_another_day_is_none(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    left = {"dependencies": [CLEAN, {**CLEAN, "name": "beta", "version": "2.1"}]}
    (tmp_path / "out" / "vulnerabilities.json").write_text(json.dumps(left))
    assert _audited(tmp_path, _tools(tmp_path, None, code=1)) == 3


def test_a_bill_that_lacks_a_package_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = [CLEAN, {**CLEAN, "name": "beta", "version": "2.1"}]
    assert _audited(tmp_path, _tools(tmp_path, clean, lost="numpy")) == 3
    assert "numpy is installed and not listed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pins", "says"),
    [
        ("alpha>=1\n", "line 1: expected NAME==VERSION, found 'alpha>=1'"),
        ("# none\n\n", "expected pinned versions, found none"),
    ],
)
def test_constraints_that_pin_nothing_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pins: str, says: str
) -> None:
    assert _audited(tmp_path, _tools(tmp_path, [CLEAN]), pins=pins) == 3
    assert says in capsys.readouterr().err


def test_missing_tools_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _audited(tmp_path, tmp_path / "none") == 3
    said = capsys.readouterr().err
    assert "cyclonedx-py cannot be run" in said and "pip-audit cannot be run" in said


def test_the_pins_of_this_project_can_be_read() -> None:
    found = tool.pins(ROOT / "constraints.txt")
    assert len(found) > 100 and found["numpy"] == importlib.metadata.version("numpy")


# with the real pip-audit, against a service of our own


class _Osv(BaseHTTPRequestHandler):
    """Answers as OSV does: one known hole, in beta."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        events = [{"introduced": "0"}, {"fixed": "2.2"}]
        package = {"name": "beta", "ecosystem": "PyPI"}
        hole = {
            "id": "PYSEC-2026-1",
            "summary": "a hole",
            "modified": "2026-01-01T00:00:00Z",
            "affected": [
                {
                    "package": package,
                    "versions": ["2.1"],
                    "ranges": [{"type": "ECOSYSTEM", "events": events}],
                }
            ],
        }
        body = json.dumps({"vulns": [hole]} if asked["version"] == "2.1" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def osv() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Osv)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(not (REAL / "pip-audit").exists(), reason="`make audit` installs pip-audit")
@pytest.mark.parametrize(("beta", "code"), [("2.1", 1), ("2.2", 0)])
def test_the_real_tool_against_a_service_on_loopback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], osv: str, beta: str, code: int
) -> None:
    tools = _tools(tmp_path, None)
    (tools / "pip-audit").unlink()
    (tools / "pip-audit").symlink_to(REAL / "pip-audit")
    pins = f"alpha==1.0\nbeta=={beta}\n"
    found = _audited(tmp_path, tools, f"--service=-s osv --osv-url {osv}", pins=pins)
    said = capsys.readouterr()
    assert found == code, said.err
    assert ("PYSEC-2026-1, mended in 2.2" in said.out) is (code == 1)


@pytest.mark.skipif(not (REAL / "pip-audit").exists(), reason="`make audit` installs pip-audit")
def test_the_real_tool_without_a_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = _tools(tmp_path, None)
    (tools / "pip-audit").unlink()
    (tools / "pip-audit").symlink_to(REAL / "pip-audit")
    assert _audited(tmp_path, tools, "--service=-s osv --osv-url http://127.0.0.1:9/v1/query") == 3
    assert "the vulnerability service gave no answer" in capsys.readouterr().err
