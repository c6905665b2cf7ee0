"""What the station refuses is said in the reader's language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from unit.station_journal import SAME, copy_of, token, write_four
from unit.station_people import PASSWORD, Browser, Clock, browser, make_people

from edge.station import refusal
from edge.station.app import create_app
from edge.station.people import People
from edge.station.refusal import Refused, SaidUsageError, in_words
from edge.station.strings import STRINGS, Words
from edge.station.strings_refused import REFUSED
from qc.errors import UsageError

FRENCH = {"accept-language": "fr"}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_four(tmp_path_factory.mktemp("four"))


@pytest.fixture
def people(four: Path, tmp_path: Path) -> People:
    return make_people(copy_of(four, tmp_path), Clock())


def french(people: People, name: str = "") -> Browser:
    client = browser(people)
    client.headers.update(FRENCH)
    if name:
        assert client.log_in(name).status_code == 303
    return client


def test_the_login(people: People) -> None:
    client = french(people)
    assert "Se connecter d'abord." in client.get("/api/parts").text
    assert "Le nom ou le mot de passe est faux." in client.log_in("Rita", "wrong").text
    stale = client.post("/login", data={"name": "Rita", "csrf": "x"}, headers=SAME)
    assert stale.status_code == 403 and "Page ouverte trop longtemps" in stale.text
    for _ in range(9):
        last = client.log_in("Rita", "wrong")
    assert last.status_code == 429 and "Trop d&#39;essais faux. Réessayer dans" in last.text


def test_ones_own_account(people: People) -> None:
    client = french(people, "Rita")
    for fields, words in (
        ({"fresh": "a", "again": "b"}, "Pas changé : Les deux nouveaux mots de passe diffèrent."),
        ({"fresh": "a", "again": "a"}, "Pas changé : ce mot de passe ne convient pas"),
    ):
        page = client.submit("/account", password=PASSWORD, **fields)
        assert page.status_code == 422 and words in page.text
    page = client.submit("/account", password="wrong", fresh="a", again="a")
    assert page.status_code == 403 and "Le nom ou le mot de passe est faux." in page.text
    assert "Votre rôle (contrôleur) ne le permet pas." in client.get("/people").text


def test_the_people(people: People) -> None:
    client = french(people, "Emil")
    new = {"do": "add", "name": "Zoë", "role": "reviewer", "password": PASSWORD}
    for fields, words in (
        (new, "Zoë est ajouté."),
        (new, "Pas fait : « Zoë » existe déjà."),
        (new | {"role": "revewer"}, "peut-être « reviewer » ?"),
        (new | {"name": " "}, "ce nom ne convient pas"),
        ({"do": "role", "name": "Zoë", "role": "auditor"}, "Zoë a le rôle auditeur."),
        ({"do": "disable", "name": "Emil"}, "pas lui-même"),
        ({"do": "disable", "name": "Zoë"}, "Zoë est désactivé."),
        ({"do": "enable", "name": "Zoe"}, "s&#39;appelle « Zoe » ; peut-être « Zoë » ?"),
        ({"do": "token", "name": "x", "role": "engineer"}, "ne peut pas avoir le rôle"),
        ({"do": "revoke", "n": "7"}, "ce jeton n&#39;existe pas : 7"),
        ({"do": "?"}, "Le formulaire ne demande rien de connu."),
    ):
        assert words in client.submit("/people", **fields).text, fields


def test_any_page(four: Path) -> None:
    client = TestClient(create_app(four, "Ann"), headers=FRENCH)
    for address, words in (
        ("/nothing", "Cette page n'existe pas."),
        ("/api/v1/parts?after=99", "Le journal n'a pas ce contrôle : 99"),
        ("/api/v1/parts?since=never", "since : une date comme"),
        ("/api/v1/parts?limit=0", "L'adresse n'est pas comprise"),
        ("/api/v1/charts/pareto?shifts=1", "trois heures dans l'ordre"),
        ("/api/v1/compare", "démarré sans deux modèles"),
    ):
        assert words in client.get(address).text.replace("&#39;", "'"), address
    headers = {"x-csrf-token": token(client)}
    empty = client.post("/part/i-2/mask", content=b"x" * 9_000_000, headers=headers)
    assert empty.status_code == 413 and "dépasse 8388608 octets" in empty.text
    foreign = client.post("/part/i-2", headers={"origin": "http://evil"})
    assert foreign.status_code == 403 and "un autre site" in foreign.text


def test_an_error_keeps_its_english_words_where_nobody_reads() -> None:
    error = SaidUsageError("people.bad_password", least=10, most=1000, found=3)
    assert str(error).endswith("cannot be taken; expected 10 to 1000 characters; found 3")
    assert Refused(403, "refused.role", role="auditor").detail.count("auditor") == 1
    assert in_words(UsageError("plain"), Words("fr")) == "plain"


def test_every_refusal_is_used_and_known() -> None:
    folder = Path(refusal.__file__).parent
    files = [f for f in folder.glob("*.py") if f.name != "strings_refused.py"]
    text = "\n".join(f.read_text(encoding="utf-8") for f in files)
    assert [key for key in REFUSED if f'"{key}"' not in text] == []
    pattern = r'(?:Refused\(\d+|Said\w+Error\()\W*"([a-z_.]+)"'
    used = set(re.findall(pattern, text))
    assert len(used) > 20 and used <= STRINGS.keys()
    assert not re.findall(r'HTTPException\(\d+, f?"', text), "words of one language"
