"""The screen of one part: order, masks, undo, answers for the script, data set, research mode."""

from __future__ import annotations

import io
import re
import sqlite3
import string
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient
from station_journal import SAME, copy_of, decode, inspection, make_manifest, picture, post, token

from edge.station import order
from edge.station.app import create_app
from edge.station.research import NOTICE, key_file
from edge.station.strings import STRINGS
from edge.station.strings_charts import STRINGS as OF_CHARTS
from qc.imageio import png_bytes, read_mask
from qc.journal import Journal, JournalWriter
from qc.journal_images import is_sampled
from qc.journal_masks import mask_file, masks_folder, store_mask
from qc.linefile import KeepTable
from qc.reviewed import undone
from qc.types import Review, Verdict
from training.datasets import load_samples, reviewed

SAMPLED = next(f"i-{n}" for n in range(100, 9999) if is_sampled(f"i-{n}", 0.02))
"""A passed part that the default share of 2 % draws."""

JSON = SAME | {"accept": "application/json"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """i-1 FAULT, i-2 NG dent, i-3 NG scratch, i-4 REVIEW, a sampled OK, and i-5 OK unsampled."""
    entries = [
        inspection(1, Verdict.FAULT),
        inspection(2, Verdict.NG, defect_class="dent"),
        inspection(3, Verdict.NG),
        inspection(4, Verdict.REVIEW),
        inspection(6, Verdict.OK, inspection_id=SAMPLED, part_id="audited"),
        inspection(5, Verdict.OK),
    ]
    path = tmp_path_factory.mktemp("screen") / "line.journal"
    with JournalWriter(path, make_manifest(), "litert", keep=KeepTable(ok_sample=0.02)) as writer:
        for entry in entries:
            writer.put(entry)
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    return copy_of(written, tmp_path)


@pytest.fixture
def client(path: Path) -> TestClient:
    return TestClient(create_app(path, "Ann"), follow_redirects=False)


def ids(rows: list) -> list[str]:  # type: ignore[type-arg]
    return [row.inspection_id for row in rows]


def decide(client: TestClient, inspection_id: str, **change: str):  # type: ignore[no-untyped-def]
    fields = {"decision": "NG", "defect_class": "scratch", "csrf": token(client)} | change
    return client.post(f"/part/{inspection_id}", data=fields, headers=JSON)


def drawn(client: TestClient, inspection_id: str, mask: np.ndarray):  # type: ignore[no-untyped-def]
    data = png_bytes(mask.astype(np.uint8) * 255)
    headers = JSON | {"x-csrf-token": token(client)}
    return client.post(f"/part/{inspection_id}/mask", content=data, headers=headers)


def square() -> np.ndarray:
    mask = np.zeros(picture().shape[:2], bool)
    mask[1:4, 2:6] = True
    return mask


# the order


def test_order_is_review_then_severity_then_the_audit_then_faults(path: Path) -> None:
    journal = Journal(path)
    assert ids(order.waiting(journal, 9)) == ["i-4", "i-3", "i-2", SAMPLED, "i-1"]
    assert ids(order.waiting(journal, 2, 1)) == ["i-3", "i-2"]
    assert ids(order.waiting(journal, 9, 3)) == [SAMPLED, "i-1"]
    assert ids(order.waiting(journal, 9, 0, Verdict.OK)) == [SAMPLED]
    assert order.count(journal, False) == 5
    walk, here = [], None
    for _ in range(5):
        here = order.following(journal, here)
        assert here is not None
        walk.append(here.inspection_id)
    assert walk == ids(order.waiting(journal, 9))
    again = order.following(journal, here)
    assert again is not None and again.inspection_id == "i-4"


def test_graver_classes_come_first_whatever_their_age(path: Path) -> None:
    """By the manifest alone: with `dent` critical it stands before the newer scratch."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER bundles_no_update")
        connection.execute(
            "UPDATE bundles SET manifest = replace(manifest, "
            """'"name":"dent","severity":"', '"name":"dent","severity":"critical","was":"')"""
        )
    assert ids(order.waiting(Journal(path), 3)) == ["i-4", "i-2", "i-3"]


def test_the_strip_shows_the_lot(path: Path) -> None:
    journal = Journal(path)
    before, after = order.neighbours(journal, journal.get("i-3"), 2)
    assert (ids(before), ids(after)) == (["i-1", "i-2"], ["i-4", SAMPLED])


# deciding


def test_the_script_gets_json_with_the_next_part(client: TestClient, path: Path) -> None:
    answer = decide(client, "i-4").json()
    assert answer["next"] == "/part/i-3" and answer["waiting"] == "4 waiting"
    assert answer["saved"] == "Saved: P-4 is NG scratch, by Ann" and answer["can_undo"]
    wrong = decide(client, "i-3", decision="OK")
    assert wrong.status_code == 422 and "why you overrule" in wrong.json()["problem"]
    assert decide(client, "i-3", decision="OK", reason="light", note="lamp").status_code == 200
    assert Journal(path).reviews("i-3")[0].note == "[glare or shadow] lamp"


def test_who_was_slower_is_told_and_nothing_is_saved(client: TestClient, path: Path) -> None:
    Journal(path).add_review(Review("i-4", "Bob", Verdict.OK))
    late = decide(client, "i-4", seen="0")
    assert late.status_code == 409 and "Bob decided OK" in late.json()["problem"]
    page = post(client, "i-4", seen="0")
    assert page.status_code == 409 and 'name="seen" value="1"' in page.text
    assert len(Journal(path).reviews("i-4")) == 1
    assert decide(client, "i-4", seen="1").status_code == 200


def test_undo_is_a_row_that_restores(client: TestClient, path: Path) -> None:
    decide(client, "i-4")
    assert order.count(Journal(path), False) == 4
    assert "/part/i-4/undo" in client.get("/part/i-3?saved=i-4").text
    undo = {"csrf": token(client)}
    answer = client.post("/part/i-4/undo", data=undo, headers=JSON).json()
    assert answer["next"] == "/part/i-4" and not answer["can_undo"]
    assert answer["saved"] == "Taken back by Ann: P-4 waits again"
    assert [r.decision.value for r in Journal(path).reviews("i-4")] == ["NG", "REVIEW"]
    assert order.count(Journal(path), False) == 5
    assert list(reviewed.samples(path)) == []
    client.post("/part/i-4/undo", data=undo, headers=SAME)  # undoing that decides again
    assert Journal(path).reviews("i-4")[-1].defect_class == "scratch"
    Journal(path).add_review(Review("i-4", "Bob", Verdict.NG, "scratch"))
    refused = client.post("/part/i-4/undo", data=undo, headers=SAME)
    assert refused.status_code == 409 and "is not yours" in refused.text
    assert client.post("/part/i-4/undo", data={"csrf": "x"}, headers=SAME).status_code == 403


def test_undone_brings_back_the_mask_and_the_class() -> None:
    first = Review("i", "Ann", Verdict.NG, "dent", "deep", mask_sha256="0" * 64)
    back = undone([first, Review("i", "Ann", Verdict.OK)], "Ann", "engineer")
    assert back is not None
    facts = (back.decision, back.defect_class, back.note, back.mask_sha256, back.role)
    assert facts == (Verdict.NG, "dent", "deep", "0" * 64, "engineer")
    assert undone([first], "Bob") is None and undone([], "Ann") is None


# masks


def test_a_mask_is_kept_shown_and_becomes_the_samples(client: TestClient, path: Path) -> None:
    answer = drawn(client, "i-3", square())
    assert answer.status_code == 200
    digest = answer.json()["mask"]
    file = masks_folder(path) / f"i-3-{digest[:8]}.png"
    assert sha256(file.read_bytes()).hexdigest() == digest
    assert decide(client, "i-3", mask=digest).status_code == 200
    assert Journal(path).reviews("i-3")[0].mask_sha256 == digest
    again = TestClient(create_app(path, "Ann"))
    page = again.get("/part/i-3").text
    assert f"mask.png?sha={digest}" in page and f'name="mask" value="{digest}"' in page
    shown = decode(again.get(f"/part/i-3/mask.png?sha={digest}").content)
    np.testing.assert_array_equal(shown[..., 3] > 0, square())
    (sample,) = load_samples(path)[1]
    assert sample.mask_path == file
    np.testing.assert_array_equal(read_mask(file, square().shape), square())
    file.write_bytes(png_bytes(np.zeros((6, 8), np.uint8)))
    assert again.get(f"/part/i-3/mask.png?sha={digest}").status_code == 404


def test_a_mask_that_does_not_fit_is_refused(client: TestClient, path: Path) -> None:
    assert drawn(client, "i-3", np.ones((5, 8), bool)).status_code == 422
    assert drawn(client, "i-3", np.zeros((6, 8), bool)).status_code == 422
    assert drawn(client, "i-1", square()).status_code == 404  # no picture was kept
    data = png_bytes(square().astype(np.uint8) * 255)
    for headers in (SAME, SAME | {"x-csrf-token": "x"}, {"origin": "http://evil.example"}):
        answer = client.post("/part/i-3/mask", content=data, headers=headers)
        assert answer.status_code == 403
    headers = SAME | {"x-csrf-token": token(client)}
    assert client.post("/part/i-3/mask", content=b"x", headers=headers).status_code == 404
    big = client.post("/part/i-3/mask", content=b"x" * 9_000_000, headers=headers)
    assert big.status_code == 413
    assert not masks_folder(path).exists()


def test_a_masks_file_stays_in_its_folder(tmp_path: Path) -> None:
    journal = tmp_path / "j.journal"
    digest = store_mask(journal, "../../evil", square())
    file = mask_file(journal, "../../evil", digest)
    assert file.is_file() and file.resolve().parent == tmp_path / "j-masks"
    assert store_mask(journal, "../../evil", square()) == digest
    assert [f.name for f in file.parent.iterdir()] == [file.name]


# the data set


def test_the_zip_is_what_training_reads(client: TestClient, path: Path, tmp_path: Path) -> None:
    digest = drawn(client, "i-3", square()).json()["mask"]
    decide(client, "i-3", mask=digest)
    decide(client, "i-4", decision="OK")
    decide(client, "i-1")  # a fault without a picture
    answer = client.get("/reviewed.zip")
    assert answer.headers["content-type"] == "application/zip"
    zipped = zipfile.ZipFile(io.BytesIO(answer.content))
    assert zipped.testzip() is None
    assert sorted(zipped.namelist()) == [
        *("LEFT_OUT.txt", "good/i-4.png", "groups.csv", "scratch/i-3.png", "scratch/i-3_mask.png")
    ]
    assert b"i-1: its picture was not kept" in zipped.read("LEFT_OUT.txt")
    zipped.extractall(tmp_path / "set")
    name, samples = load_samples(tmp_path / "set")
    decided = load_samples(path)[1]
    assert name == "class_folders"
    assert {(s.labels, s.group) for s in samples} == {(s.labels, s.group) for s in decided}
    with_mask = [s for s in samples if s.mask_path]
    assert [s.sample_id for s in with_mask] == ["scratch/i-3.png"]


# research mode


def test_research_mode_names_no_part_and_says_what_it_is(path: Path) -> None:
    client = TestClient(create_app(path, "Ann", research=True), follow_redirects=False)
    for url in ("/", "/part/i-3", "/part/nobody", "/?show=all"):
        page = client.get(url).text
        assert "not for diagnostic use" in page, url
        assert "P-3" not in page and "f-3" not in page
    page = client.get("/part/i-3").text
    (hashed,) = set(re.findall(r'<h1 class="name">([0-9a-f]{16})</h1>', page))
    facts = client.get("/api/parts/i-3").json()
    assert facts["part_id"] == hashed and "P-3" not in str(facts)
    again = TestClient(create_app(path, "Ann", research=True)).get("/part/i-3").text
    assert hashed in again  # the same part has the same hash after a restart
    assert key_file(path).stat().st_mode & 0o077 == 0
    heat = decode(client.get("/part/i-3/heat.png").content)
    plain = decode(TestClient(create_app(path, "Ann")).get("/part/i-3/heat.png").content)
    assert heat.shape == plain.shape and not np.array_equal(heat, plain)
    decide(client, "i-3")
    zipped = zipfile.ZipFile(io.BytesIO(client.get("/reviewed.zip").content))
    assert NOTICE in zipped.read("NOT_FOR_DIAGNOSTIC_USE.txt").decode()


# the strings


def test_both_languages_say_everything_with_the_same_values() -> None:
    for key, (english, french) in (STRINGS | OF_CHARTS).items():
        assert english.strip() and french.strip(), key
        named = [{f for _, f, _, _ in string.Formatter().parse(t) if f} for t in (english, french)]
        assert named[0] == named[1], key


def test_screens_use_known_strings_only_and_every_string_is_used() -> None:
    folder = Path(order.__file__).parent
    text = "\n".join(
        f.read_text(encoding="utf-8") for f in [*folder.rglob("*.html"), *folder.rglob("*.py")]
    )
    used = set(re.findall(r"""\bt\(["']([a-z_.A-Z0-9]+)["'][),]""", text))
    assert len(used) > 60
    assert not used - STRINGS.keys() - OF_CHARTS.keys()


def test_a_person_reads_french(client: TestClient) -> None:
    french = client.get("/part/i-3", headers={"accept-language": "fr-CA,en;q=0.5"}).text
    assert '<html lang="fr">' in french and "Votre décision" in french
    assert "Your decision" in client.get("/part/i-3", headers={"accept-language": "de"}).text
