"""A journal as version 1 of the schema wrote it, for the tests of the migration."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from toy_line import inspection

from qc.imageio import write_png
from qc.journal import JournalWriter
from qc.journal_chain import Chain
from qc.manifest import Manifest
from qc.types import Verdict

AT = "2025-03-04T09:30:00.000000+00:00"
_TABLES = {
    "meta": "key TEXT PRIMARY KEY, value TEXT NOT NULL",
    "bundles": "seq INTEGER PRIMARY KEY, bundle_id TEXT NOT NULL, manifest TEXT NOT NULL, "
    "runtime TEXT NOT NULL, opened_at TEXT NOT NULL",
    "inspections": "seq INTEGER PRIMARY KEY, inspection_id TEXT NOT NULL UNIQUE, "
    "frame_id TEXT NOT NULL, source_id TEXT NOT NULL, part_id TEXT, lot TEXT, "
    "captured_at TEXT NOT NULL, journaled_at TEXT NOT NULL, verdict TEXT NOT NULL "
    "CHECK (verdict IN ('OK', 'NG', 'REVIEW', 'FAULT')), reason TEXT NOT NULL, "
    "defect_class TEXT, defect_score REAL, scores TEXT, bundle_id TEXT NOT NULL, "
    "timings TEXT NOT NULL, image_path TEXT, map BLOB, map_h INTEGER, map_w INTEGER",
    "drops": "seq INTEGER PRIMARY KEY, source_id TEXT NOT NULL, frame_id TEXT NOT NULL, "
    "cause TEXT NOT NULL, at TEXT NOT NULL",
    "reviews": "seq INTEGER PRIMARY KEY, "
    "inspection_id TEXT NOT NULL REFERENCES inspections(inspection_id), "
    "reviewer TEXT NOT NULL, decision TEXT NOT NULL, defect_class TEXT, note TEXT NOT NULL, "
    "at TEXT NOT NULL",
}


def make_version_1(path: Path, manifest: Manifest) -> None:
    """i1 to i3 with a picture of i2, two drops, and a review of i2."""
    image = f"{path.stem}-images/2025-03-04/i2.png"
    (path.parent / image).parent.mkdir(parents=True)
    write_png(path.parent / image, np.full((4, 4, 3), 90, np.uint8))
    evidence = np.array([[0, 1], [2, 4]], "<f4").tobytes()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for name, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
            for action in ("UPDATE", "DELETE"):
                connection.execute(
                    f"CREATE TRIGGER {name}_no_{action.lower()} BEFORE {action} ON {name} "
                    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
                )
        connection.execute("CREATE INDEX inspections_verdict ON inspections(verdict)")
        connection.execute("CREATE INDEX reviews_of ON reviews(inspection_id)")
        facts = [("format", "attention-qc journal"), ("schema_version", "1")]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", facts)
        bundle = [1, manifest.bundle_id, manifest.model_dump_json(), "toy 1.0", AT]
        connection.execute("INSERT INTO bundles VALUES (?, ?, ?, ?, ?)", bundle)
        for n in (1, 2, 3):
            row = [n, f"i{n}", f"f{n}", "toy", f"p{n}", "lot1", AT, AT, "NG", f"old reason {n}"]
            row += ["scratch", 0.875, '{"good": 0.125, "scratch": 0.875, "dent": 0.0}', "b"]
            row += ['{"total": 3.5}', image if n == 2 else None, evidence, 2, 2]
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO inspections VALUES ({marks})", row)
        for n in (1, 2):
            connection.execute("INSERT INTO drops VALUES (?, 'toy', 'd', 'full', ?)", [n, AT])
        review = [1, "i2", "Ann", "NG", "scratch", "", AT]
        connection.execute("INSERT INTO reviews VALUES (?, ?, ?, ?, ?, ?, ?)", review)


def make_version_2(path: Path, manifest: Manifest) -> None:
    """i1 with a review; as version 2 wrote it: the columns of version 3 are not there."""
    with JournalWriter(path, manifest, "toy") as writer:
        writer.put(inspection("i1", Verdict.NG))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        chain = Chain(connection)
        chain.begin()
        row = {"inspection_id": "i1", "reviewer": "Ann", "decision": "OK", "note": "", "at": AT}
        chain.append("reviews", row | {"defect_class": None})
        for name in ("role", "before", "mask_sha256", "blind"):
            connection.execute(f"ALTER TABLE reviews DROP COLUMN {name}")
        connection.execute("DROP INDEX inspections_facts")
        connection.execute("CREATE INDEX inspections_captured_at ON inspections (captured_at)")
        connection.execute("DROP TRIGGER meta_no_update")
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
        connection.execute(
            "CREATE TRIGGER meta_no_update BEFORE UPDATE ON meta "
            "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        )
        connection.execute("COMMIT")
