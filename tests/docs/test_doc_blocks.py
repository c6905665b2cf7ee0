"""What finds, judges and types the documents' commands: it can fail where it must."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_blocks import Typed, blocks, complaint, documents, is_whole, named_in, spans, typed_in
from doc_parser import problems, simple_commands, targets
from doc_shell import Shell, shim

PAGE = """\
# A page

With `qc show part.tflite` and
`qc
verify BUNDLE`, not `qc` alone.

```sh
qc verify part.tflite  # a comment
# nothing

podman run a \\
  b
for i in 1 2; do
  echo $i
done
cat <<END > file
qc nothing
END
```

<!-- not run: needs root -->
```console
$ sudo qc run a.toml
a.toml: wrote results.csv
{"captured": 3}
$ make demo
```

```toml
qc = "make"
```
"""


def _complaints(text: str) -> list[str]:
    return [why for b in blocks(text, "a.md") if (why := complaint(b)) is not None]


def test_blocks_and_their_commands_with_their_lines() -> None:
    shell, console, toml = blocks(PAGE, "a.md")
    assert [b.where for b in (shell, console, toml)] == ["a.md:7", "a.md:22", "a.md:29"]
    assert (shell.why_not, console.why_not, toml.language) == (None, "needs root", "toml")
    assert [(t.where, t.text.splitlines()[0]) for t in typed_in(shell)] == [
        ("a.md:8", "qc verify part.tflite  # a comment"),
        ("a.md:11", "podman run a \\"),
        ("a.md:13", "for i in 1 2; do"),
        ("a.md:16", "cat <<END > file"),
    ]
    assert typed_in(shell)[3].text == "cat <<END > file\nqc nothing\nEND"
    first, second = typed_in(console)
    assert first == Typed(
        "a.md:23", "sudo qc run a.toml", ("a.toml: wrote results.csv", '{"captured": 3}')
    )
    assert second == Typed("a.md:26", "make demo")
    assert named_in(first.output) == ["a.toml", "captured", "results.csv"]
    assert _complaints(PAGE) == []


def test_pieces_in_sentences() -> None:
    assert spans(PAGE, "a.md") == [
        Typed("a.md:3", "qc show part.tflite"),
        Typed("a.md:4", "qc verify BUNDLE"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```\nqc show a\n```", "a block with a command says no language"),
        ("```\n$ .venv/bin/qc show a\n```", "a block with a command says no language"),
        ("```\nA=1 make x\n```", "a block with a command says no language"),
        ("<!-- not run: -->\n```sh\nqc show a\n```", "'not run' without a reason"),
        ("<!-- not run: no -->\n```toml\na = 1\n```", "before a block that is none of"),
        ("```console\nqc show a\n```", "a block of console without a command"),
        ("```sh\n# nothing\n```", "a block of sh without a command"),
    ],
)
def test_a_block_that_says_too_little_is_a_complaint(text: str, says: str) -> None:
    (found,) = _complaints("a\n\n" + text)
    assert found.startswith("a.md:") and says in found


@pytest.mark.parametrize("text", ["```\nplain text\n```", "```text\nqc show a\n```"])
def test_a_block_without_commands_needs_no_language(text: str) -> None:
    assert _complaints(text) == []


def test_the_documents_leave_the_decisions_out() -> None:
    found = documents(Path(__file__).parents[2])
    assert found[0] == "README.md" and "docs/deploy/README.md" in found
    assert not [d for d in found if "decisions" in d]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("qc show a", True),
        ("qc show a \\", False),
        ("if true; then", False),
        ("cat <<E\na", False),
        ("cat <<E\na\nE", True),
    ],
)
def test_a_command_is_whole_where_a_shell_would_run_it(text: str, whole: bool) -> None:
    assert is_whole(text) is whole


def test_the_words_of_a_line() -> None:
    assert simple_commands("A=1 qc show 'a b' > out.txt 2>&1 && make x; ls | wc # c") == [
        ["qc", "show", "a b"],
        ["make", "x"],
        ["ls"],
        ["wc"],
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("qc shoe part.tflite", "there is no command 'shoe'"),
        ("qc show part.tflite --nosuch", "--nosuch"),
        ("qc show", "Missing argument"),
        ("qc bench part.tflite --threads many", "many"),
        ("sudo .venv/bin/qc data splitt parts --out a.csv", "there is no command 'splitt'"),
        ("qc show a && qc keys sign a", "--key"),
        ("make nosuch", "no target 'nosuch'"),
        ("qc", "a verb is missing"),
    ],
)
def test_a_command_that_the_parser_refuses(text: str, says: str) -> None:
    found = problems(text)
    assert len(found) == 1 and says in found[0], found


@pytest.mark.parametrize(
    "text",
    [
        "qc show part.tflite --json | python -m json.tool",
        "QC_DATA=<the set> make bench-tiles",
        "qc --version",
        "qc train --help",
        "qc export runs/<name>-<hash> --qat",
        "ls nosuch",
    ],
)
def test_a_command_that_is_legal(text: str) -> None:
    assert problems(text) == []


def test_a_piece_may_leave_arguments_out_but_no_option_may_be_wrong() -> None:
    assert problems("qc people list|disable|password", whole=False) == []
    assert problems("qc demo [--out DIR]", whole=False) == []
    assert problems("qc review --port PORT", whole=False) == []
    assert problems("qc export --sign", whole=False) == []
    assert "--outt" in problems("qc demo [--outt DIR]", whole=False)[0]
    assert "'lists'" in problems("qc people add|lists", whole=False)[0]


def test_the_makefile_has_targets() -> None:
    assert {"demo", "test", "lint", "docs"} <= targets()


_QC = """
import os, signal, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
verb, how = sys.argv[1], sys.argv[-1]
class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({"broken": 500, "login": 401}.get(how, 200))
        self.end_headers()
    def log_message(self, *a): pass
server = HTTPServer(("127.0.0.1", 0), Page)
def stop(*a):
    threading.Thread(target=server.shutdown).start()
if how != "deaf":
    signal.signal(signal.SIGTERM, stop)
if how == "dead":
    sys.exit("no journal")
if how == "late" and not os.path.exists("tried"):
    open("tried", "w").close()
    sys.exit("Address already in use")
print(f"open http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
open("stopped", "a").write(verb)
sys.exit(5 if how == "ill" else 0)
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A terminal whose `qc` is a small server."""
    (tmp_path / "qc.py").write_text(_QC)
    shim(tmp_path / "bin" / "qc", sys.executable, str(tmp_path / "qc.py"))
    made = Shell(tmp_path)
    yield made
    made.close()


def _at(text: str, *output: str) -> Typed:
    return Typed("a.md:7", text, output)


def test_folder_and_variables_go_on(shell: Shell, tmp_path: Path) -> None:
    for text in ("mkdir -p sub && cd sub", "export NAME=x\nUNSEEN=y", 'echo "$NAME$UNSEEN" > said'):
        assert shell.type(_at(text)) is None
    assert (tmp_path / "sub" / "said").read_text() == "x\n"


def test_a_command_that_fails_is_named_with_its_output(shell: Shell) -> None:
    said = shell.type(_at("echo before; ls nosuch | cat"))
    assert said is not None
    assert said.splitlines()[:3] == [
        "a.md:7: exit code 2",
        "  $ echo before; ls nosuch | cat",
        "    before",
    ]
    assert "nosuch" in said.splitlines()[3]
    assert shell.type(_at("false")) == "a.md:7: exit code 1\n  $ false\n    (no output)"


def test_what_is_shown_must_be_there(shell: Shell, tmp_path: Path) -> None:
    assert shell.type(_at("echo wrote out.csv", "wrote out.csv")) is None
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "found.png").touch()
    assert shell.type(_at("true", "look at sub/found.png")) is None
    said = shell.type(_at("""echo '{"n": 1}'""", '{"m": 1}'))
    assert said is not None and "the output that is shown names m" in said


def test_a_server_answers_and_is_stopped(shell: Shell, tmp_path: Path) -> None:
    assert shell.type(_at("qc review journal.db", "open http://")) is None
    assert not (tmp_path / "stopped").exists()
    assert shell.type(_at("bin/qc review other.db")) is None  # the first one ends before
    assert (tmp_path / "stopped").read_text() == "review"
    assert shell.close() == []
    assert (tmp_path / "stopped").read_text() == "reviewreview"


def test_a_page_that_asks_for_a_login_is_an_answer(shell: Shell) -> None:
    assert shell.type(_at("qc review login")) is None


def test_a_port_that_another_test_has_is_waited_for(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doc_shell._AGAIN_S", 0.1)
    assert shell.type(_at("qc review late")) is None


def test_a_server_that_ends_by_itself_has_failed(shell: Shell) -> None:
    said = shell.type(_at("qc review dead"))
    assert said is not None and said.startswith("a.md:7: exit code 1") and "no journal" in said


def test_a_server_that_does_not_end_well_has_failed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell.type(_at("qc review ill")) is None
    (said,) = shell.close()
    assert said.startswith("a.md:7: stopped with 5")


def test_a_server_without_an_answer_has_failed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doc_shell._PATIENCE_S", 3.0)
    said = shell.type(_at("qc review broken"))
    assert said is not None and "neither ended nor answered" in said


def test_a_command_without_an_end_has_failed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doc_shell._PATIENCE_S", 0.5)
    said = shell.type(_at("sleep 30"))
    assert said is not None and "did not end within" in said


def test_no_variable_of_the_machine_is_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "QC_DATA", "elsewhere")
    shell = Shell(tmp_path)
    assert shell.type(_at('test -z "$QC_DATA" && test "$HOME" = "$PWD"')) is None
