"""Known vulnerabilities of the pinned versions, and a bill of materials of what is installed.

    python tests/audit/audit.py --out FOLDER --constraints FILE --environment NAME=PYTHON...

Writes FOLDER/sbom-NAME.json (CycloneDX) for each environment, and FOLDER/vulnerabilities.json for
the constraints. It runs pip-audit and cyclonedx-py that are installed beside the interpreter.

Exit 0: everything was looked at and nothing is known; 1: a vulnerability is known; 2: wrong usage;
3: not everything could be looked at. pip-audit itself calls a package that its service has never
heard of "skipped" and ends with 0, so a service that knows nothing would pass for good news. Here
each pinned package must be in the answer, and none may be skipped.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

_PIN = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)==([^\s;#]+)")
_SHOWN = 8


class AuditError(Exception):
    """Not everything could be looked at."""


def plain(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(constraints: Path) -> dict[str, str]:
    """Names and versions of a constraints file.

    Raises:
        AuditError: not readable, a line that pins nothing, or no line.
    """
    try:
        lines = constraints.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"{constraints}: cannot be read ({error})") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pin = _PIN.match(line)
        if pin is None:
            raise AuditError(f"{constraints} line {number}: expected NAME==VERSION, found {line!r}")
        found[plain(pin[1])] = pin[2]
    if not found:
        raise AuditError(f"{constraints}: expected pinned versions, found none")
    return found


def write_sbom(tool: Path, python: Path, file: Path) -> int:
    """Write the bill of materials of an environment; returns how many components it lists.

    References to files of this machine are left out, and so is the time: the same packages give
    the same bytes.

    Raises:
        AuditError: the tool failed, or its list lacks what the environment says it holds.
    """
    command = [tool, "environment", "--output-reproducible", "--of", "JSON", "-o", file, python]
    _run(command, "the bill of materials")
    try:
        bill = json.loads(file.read_text(encoding="utf-8"))
        listed = {plain(c["name"]): c["version"] for c in bill["components"]}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise AuditError(f"{file}: not a bill of materials ({error!r})") from error
    ask = "import importlib.metadata as m; print([d.name for d in m.distributions()])"
    installed = _run([python, "-c", ask], "what is installed")
    missing = {plain(name) for name in re.findall(r"'([^']+)'", installed)} - listed.keys()
    if missing or not listed:
        raise AuditError(f"{file}: {_few(missing or {'everything'})} is installed and not listed")
    for component in bill["components"]:
        kept = [
            reference
            for reference in component.pop("externalReferences", [])
            if not reference["url"].startswith("file:")
        ]
        component |= {"externalReferences": kept} if kept else {}
    file.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return len(listed)


def find_vulnerabilities(
    tool: Path, constraints: Path, file: Path, service: list[str]
) -> list[tuple[str, str, list[str]]]:
    """What is known against the pinned versions: package, id, versions that mend it.

    Raises:
        AuditError: the service gave no answer, or none for one of the packages.
    """
    wanted = pins(constraints)
    file.unlink(missing_ok=True)  # an answer of another day is none
    command = [tool, "-r", constraints, "--no-deps", "--disable-pip", "-f", "json", "-o", file]
    command += ["--progress-spinner", "off", *service]
    try:
        ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    except OSError as error:
        raise AuditError(f"{tool} cannot be run ({error.strerror})") from error
    try:
        answers: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["dependencies"]
        answered = {plain(a["name"]): a for a in answers}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise AuditError(
            f"the vulnerability service gave no answer (pip-audit ended with {ran.returncode}): "
            f"{_last_line(ran.stderr)}"
        ) from error
    dark = {n for n in wanted if "vulns" not in answered.get(n, {})}
    dark |= {n for n, a in answered.items() if n in wanted and a.get("version") != wanted[n]}
    if dark:
        raise AuditError(
            f"{len(dark)} of {len(wanted)} packages were not looked at: the vulnerability service "
            f"does not know {_few(dark)}"
        )
    found = [(a["name"], v["id"], v["fix_versions"]) for a in answers for v in a["vulns"]]
    if ran.returncode != (1 if found else 0):
        words = f"pip-audit ended with {ran.returncode}: {_last_line(ran.stderr)}"
        raise AuditError(f"{words}; found {len(found)} vulnerabilities")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Write the bills first: they are there whatever the service says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--constraints", type=Path, required=True)
    parser.add_argument("--environment", action="append", required=True, metavar="NAME=PYTHON")
    parser.add_argument("--tools", type=Path, default=Path(sys.executable).parent)
    parser.add_argument("--service", nargs="*", default=[], help="words for pip-audit")
    told = parser.parse_args(arguments)
    environments = [entry.partition("=")[::2] for entry in told.environment]
    if not all(name and python for name, python in environments):
        parser.error("--environment is NAME=PYTHON")
    told.out.mkdir(parents=True, exist_ok=True)
    code = 0
    for name, python in environments:
        file = told.out / f"sbom-{name}.json"
        try:
            n = write_sbom(told.tools / "cyclonedx-py", Path(python), file)
            print(f"{file}: {n} packages")
        except AuditError as error:
            print(f"error {error}", file=sys.stderr)
            code = 3
    try:
        answer = told.out / "vulnerabilities.json"
        service = [word for given in told.service for word in given.split()]
        found = find_vulnerabilities(told.tools / "pip-audit", told.constraints, answer, service)
    except AuditError as error:
        print(f"error NOT AUDITED: {error}", file=sys.stderr)
        return 3
    for name, number, mended in found:
        print(f"{name}: {number}, mended in {', '.join(mended) or 'no version yet'}")
    print(f"{len(pins(told.constraints))} pinned versions, {len(found)} known vulnerabilities")
    return code or (1 if found else 0)


def _run(command: list[object], what: str) -> str:
    try:
        ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    except OSError as error:
        raise AuditError(f"{what}: {command[0]} cannot be run ({error.strerror})") from error
    except subprocess.CalledProcessError as error:
        words = f"{command[0]} ended with {error.returncode}: {_last_line(error.stderr)}"
        raise AuditError(f"{what}: {words}") from error
    return ran.stdout


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1][:500]


def _few(names: set[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(sorted(names)[:_SHOWN]) + more


if __name__ == "__main__":
    sys.exit(main())
