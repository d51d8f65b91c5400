-- How the caches on disk are used, so that their worth is known after a restart too.
ALTER TABLE artifact ADD COLUMN architecture TEXT NOT NULL DEFAULT '';
ALTER TABLE artifact ADD COLUMN hits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE artifact ADD COLUMN saved_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE artifact ADD COLUMN used INTEGER;              -- when it last served
ALTER TABLE artifact ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX artifact_blob ON artifact (sha256);

CREATE TABLE cache_use (
    tenant        TEXT PRIMARY KEY,
    hits          INTEGER NOT NULL,
    misses        INTEGER NOT NULL,
    saved_seconds REAL NOT NULL
) WITHOUT ROWID;
