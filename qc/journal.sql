CREATE TABLE bundles (
	seq INTEGER NOT NULL,
	link INTEGER NOT NULL,
	bundle_id TEXT NOT NULL,
	manifest TEXT NOT NULL,
	runtime TEXT NOT NULL,
	ok_sample REAL,
	opened_at TEXT NOT NULL,
	hash BLOB NOT NULL,
	PRIMARY KEY (seq)
)

CREATE TABLE drops (
	seq INTEGER NOT NULL,
	link INTEGER NOT NULL,
	source_id TEXT NOT NULL,
	frame_id TEXT NOT NULL,
	part_id TEXT,
	lot TEXT,
	cause TEXT NOT NULL,
	at TEXT NOT NULL,
	hash BLOB NOT NULL,
	PRIMARY KEY (seq)
)

CREATE TABLE events (
	seq INTEGER NOT NULL,
	link INTEGER NOT NULL,
	kind TEXT NOT NULL,
	detail TEXT NOT NULL,
	at TEXT NOT NULL,
	hash BLOB NOT NULL,
	PRIMARY KEY (seq)
)

CREATE INDEX events_kind ON events (kind)

CREATE TABLE meta (
	"key" TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY ("key")
)

CREATE TABLE inspections (
	seq INTEGER NOT NULL,
	link INTEGER NOT NULL,
	inspection_id TEXT NOT NULL,
	frame_id TEXT NOT NULL,
	source_id TEXT NOT NULL,
	part_id TEXT,
	lot TEXT,
	captured_at TEXT NOT NULL,
	journaled_at TEXT NOT NULL,
	verdict TEXT NOT NULL CHECK (verdict IN ('OK', 'NG', 'REVIEW', 'FAULT')),
	reason TEXT NOT NULL,
	defect_class TEXT,
	defect_score REAL,
	scores TEXT,
	bundle_id TEXT NOT NULL,
	bundle_seq INTEGER,
	timings TEXT NOT NULL,
	sampled INTEGER,
	image_path TEXT,
	image_sha256 TEXT,
	map BLOB,
	map_h INTEGER,
	map_w INTEGER,
	hash BLOB NOT NULL,
	PRIMARY KEY (seq),
	UNIQUE (inspection_id),
	FOREIGN KEY(bundle_seq) REFERENCES bundles (seq)
)

CREATE INDEX inspections_facts ON inspections (captured_at, seq, verdict, defect_class, source_id, lot, bundle_id, sampled, defect_score)

CREATE INDEX inspections_kept ON inspections (verdict, seq) WHERE image_path IS NOT NULL

CREATE INDEX inspections_lot ON inspections (lot)

CREATE INDEX inspections_part_id ON inspections (part_id)

CREATE INDEX inspections_verdict ON inspections (verdict)

CREATE TABLE reviews (
	seq INTEGER NOT NULL,
	link INTEGER NOT NULL,
	inspection_id TEXT NOT NULL,
	reviewer TEXT NOT NULL,
	decision TEXT NOT NULL,
	defect_class TEXT,
	note TEXT NOT NULL,
	at TEXT NOT NULL,
	role TEXT,
	"before" TEXT,
	mask_sha256 TEXT,
	blind INTEGER,
	hash BLOB NOT NULL,
	PRIMARY KEY (seq),
	FOREIGN KEY(inspection_id) REFERENCES inspections (inspection_id)
)

CREATE INDEX reviews_of ON reviews (inspection_id)

CREATE TRIGGER bundles_no_update BEFORE UPDATE ON bundles BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER bundles_no_delete BEFORE DELETE ON bundles BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER drops_no_update BEFORE UPDATE ON drops BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER drops_no_delete BEFORE DELETE ON drops BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER meta_no_update BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER meta_no_delete BEFORE DELETE ON meta BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER inspections_no_update BEFORE UPDATE ON inspections BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER inspections_no_delete BEFORE DELETE ON inspections BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER reviews_no_update BEFORE UPDATE ON reviews BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END

CREATE TRIGGER reviews_no_delete BEFORE DELETE ON reviews BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END
