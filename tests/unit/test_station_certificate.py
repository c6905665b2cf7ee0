"""The certificate that the station is given: with its key, readable, and of one pair."""

from __future__ import annotations

from pathlib import Path

import pytest
from station_journal import write_four

from edge.station import tls
from edge.station.serve import serve
from qc.errors import DataError, UsageError


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_four(tmp_path_factory.mktemp("written"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tls.own_certificate(tmp_path_factory.mktemp("one") / "a.db", "127.0.0.1")


def test_a_certificate_without_its_key_is_refused(journal: Path, pair: tuple[Path, Path]) -> None:
    for half in ((pair[0], None), (None, pair[1])):
        with pytest.raises(UsageError, match="belong together; expected --cert and --key"):
            serve(journal, "127.0.0.1", 0, "Ann", False, certificate=half)


def test_the_key_of_another_certificate_is_refused(
    journal: Path, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, other = tls.own_certificate(tmp_path / "b.db", "127.0.0.1")
    (tmp_path / "text.key").write_text("no key")
    for key in (other, tmp_path / "text.key"):
        with pytest.raises(DataError, match="the certificate and the key do not bel") as caught:
            serve(journal, "127.0.0.1", 0, "Ann", False, certificate=(pair[0], key))
        assert caught.value.where == str(pair[0])
    assert "Review station on" not in capsys.readouterr().err


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_is_not_there_is_named(
    journal: Path, pair: tuple[Path, Path], tmp_path: Path, which: int
) -> None:
    gone = tmp_path / "gone.pem"
    given = (gone, pair[1]) if which == 0 else (pair[0], gone)
    with pytest.raises(DataError, match="no such file; expected a file in PEM form") as caught:
        serve(journal, "127.0.0.1", 0, "Ann", False, certificate=given)
    assert caught.value.where == str(gone)
