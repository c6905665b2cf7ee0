"""A training starts itself anew with huge pages, once, and only where that is possible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qc import huge_pages

ROOT = Path(__file__).parents[2]
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ON_REQUEST = sys.platform == "linux" and SWITCH.is_file() and "[madvise]" in SWITCH.read_text()

PROGRAM = """
import os, sys
from pathlib import Path
from qc.huge_pages import restart_with_huge_pages
print("begun", flush=True)
restart_with_huge_pages()
block = bytearray(b"x") * (64 << 20)
held = Path("/proc/self/smaps_rollup").read_text()
print(sys.argv[1:], os.environ.get("GLIBC_TUNABLES"), held)
"""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """A process that began as a training where huge pages are given on request; its restarts."""
    switch = tmp_path / "enabled"
    switch.write_text("always [madvise] never\n")
    monkeypatch.setattr(huge_pages, "_SWITCH", switch)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
    monkeypatch.setattr(sys, "argv", ["/bin/qc", "train", "a.toml"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "/bin/qc", "train", "a.toml"])
    restarts: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, given: restarts.append([program, *given]))
    return restarts


def test_it_starts_anew_as_it_was_started(begun: list[list[str]]) -> None:
    huge_pages.restart_with_huge_pages()
    assert begun == [[sys.executable, sys.executable, "-X", "dev", "/bin/qc", "train", "a.toml"]]
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    huge_pages.restart_with_huge_pages()
    assert len(begun) == 1


@pytest.mark.parametrize("state", ["[always] madvise never", "always madvise [never]", None])
def test_a_kernel_that_is_not_asked_needs_no_restart(
    state: str | None, begun: list[list[str]]
) -> None:
    if state is None:
        huge_pages._SWITCH.unlink()
    else:
        huge_pages._SWITCH.write_text(state)
    huge_pages.restart_with_huge_pages()
    assert begun == [] and "GLIBC_TUNABLES" not in os.environ


@pytest.mark.parametrize("name", ["glibc 2.34", "glibc 2.x", "musl 1.2", "", None])
def test_another_library_than_a_new_glibc_cannot_be_asked(
    name: str | None, begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "confstr", lambda _: name)
    huge_pages.restart_with_huge_pages()
    assert begun == []


def test_a_system_without_that_name_cannot_be_asked(
    begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> str:
        raise ValueError(name)

    monkeypatch.setattr(os, "confstr", unknown)
    huge_pages.restart_with_huge_pages()
    assert begun == []


@pytest.mark.parametrize("own", ["", "glibc.malloc.hugetlb=0"])
def test_what_the_user_has_set_stays(
    own: str, begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", own)
    huge_pages.restart_with_huge_pages()
    assert begun == [] and os.environ["GLIBC_TUNABLES"] == own


@pytest.mark.parametrize("started", [["pytest", "-x"], ["python"], ["qc", "train", "b.toml"]])
def test_a_program_that_calls_the_command_is_not_started_anew(
    started: list[str], begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", started)
    huge_pages.restart_with_huge_pages()
    assert begun == []


def test_where_it_cannot_be_started_anew_it_goes_on(
    begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(program: str, given: list[str]) -> None:
        raise FileNotFoundError(program)

    monkeypatch.setattr(os, "execv", gone)
    huge_pages.restart_with_huge_pages()


@pytest.mark.skipif(not ON_REQUEST, reason="this kernel does not give huge pages on request")
def test_memory_comes_in_huge_pages_then(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    told = [sys.executable, str(program), "train", "with blanks.toml", "--json"]
    ran = subprocess.run(
        told,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, last = ran.stdout.split("\n", 2)
    assert first == second == "begun"
    assert last.startswith("['train', 'with blanks.toml', '--json'] glibc.malloc.hugetlb=1")
    held = re.search(r"AnonHugePages:\s+(\d+) kB", last)
    assert held and int(held[1]) >= 48 << 10


@pytest.mark.skipif(not ON_REQUEST, reason="this kernel does not give huge pages on request")
@pytest.mark.parametrize(("verb", "anew"), [("train", True), ("evaluate", False)])
def test_of_the_verbs_a_training_alone_is_started_anew(
    verb: str, anew: bool, tmp_path: Path
) -> None:
    program = "import os, sys; print(os.environ.get('GLIBC_TUNABLES'), file=sys.stderr)"
    (tmp_path / "sitecustomize.py").write_text(program)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    ran = subprocess.run(
        [sys.executable, "-m", "qc.cli", verb, "absent", "--json"],
        env=environment | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in ran.stderr.splitlines() if line in ("None", huge_pages._ASK)]
    assert ran.returncode == 2
    assert said == ["None", huge_pages._ASK][: 1 + anew]
