-- Adapters: which version of which shard, how it was made, what was measured, what became of it.
-- Figures and hashes only. The bytes are the blob of an artifact, and what they were made of stands
-- in artifact_source, so that the tables themselves withdraw an adapter whose sources change.

CREATE TABLE adapter (
    adid     INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    tenant   TEXT NOT NULL,
    cid      INTEGER NOT NULL,
    model    TEXT NOT NULL,                    -- the name it is hosted under
    shard    INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    state    TEXT NOT NULL,                    -- candidate published discarded stale withdrawn
    aid      INTEGER,                          -- NULL once its bytes are gone
    facts    INTEGER NOT NULL,
    rebuild  INTEGER NOT NULL,                 -- whether it is made anew when a source changes
    task     TEXT,
    recipe   TEXT NOT NULL,                    -- JSON
    figures  TEXT,                             -- JSON, once measured
    data     TEXT,                             -- hash of the lessons; goes with the bytes
    created  INTEGER NOT NULL,
    why      TEXT NOT NULL DEFAULT '',
    UNIQUE (cid, model, shard, version)
);
CREATE INDEX adapter_of ON adapter (aid) WHERE aid IS NOT NULL;
CREATE INDEX adapter_rebuild ON adapter (adid) WHERE rebuild AND state IN ('stale', 'withdrawn');

-- The shard that a memory belongs to, for good: a correction rebuilds one shard.
CREATE TABLE adapter_shard (
    iid   INTEGER NOT NULL,
    model TEXT NOT NULL,
    cid   INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    PRIMARY KEY (iid, model)
) WITHOUT ROWID;
CREATE INDEX adapter_shard_of ON adapter_shard (cid, model, shard);

CREATE TRIGGER adapter_shard_gone AFTER DELETE ON item
BEGIN
    DELETE FROM adapter_shard WHERE iid = OLD.iid;
END;
-- The number of a cube that is gone may be given to another one.
CREATE TRIGGER adapter_cube_gone AFTER DELETE ON cube
BEGIN
    DELETE FROM adapter_shard WHERE cid = OLD.cid;
    DELETE FROM adapter WHERE cid = OLD.cid;
END;

CREATE TRIGGER adapter_stale AFTER UPDATE OF withdrawn ON artifact
WHEN NEW.withdrawn IS NOT NULL AND NEW.kind = 'parametric'
BEGIN
    UPDATE adapter SET state = 'stale', why = 'a memory it was made of has changed'
        WHERE aid = NEW.aid AND state IN ('candidate', 'published');
END;
CREATE TRIGGER adapter_bytes_gone AFTER DELETE ON artifact WHEN OLD.kind = 'parametric'
BEGIN
    UPDATE adapter SET aid = NULL, data = NULL,
        why = CASE WHEN state IN ('candidate', 'published') THEN 'a memory it was made of is gone'
              ELSE why END,
        state = CASE WHEN state = 'discarded' THEN state ELSE 'withdrawn' END
        WHERE aid = OLD.aid;
END;

-- Text that is hidden stays in no weights.
CREATE TRIGGER adapter_source_hidden AFTER UPDATE OF quarantined ON item
WHEN NEW.quarantined AND NOT OLD.quarantined
    AND EXISTS (SELECT 1 FROM artifact_source WHERE iid = NEW.iid)
BEGIN
    UPDATE artifact SET withdrawn = (SELECT coalesce(max(seq), 0) FROM outbox)
        WHERE withdrawn IS NULL AND kind = 'parametric'
        AND aid IN (SELECT aid FROM artifact_source WHERE iid = NEW.iid);
END;
-- Nor what no longer holds: a memory that ends, or one whose fact a later memory has ended.
CREATE TRIGGER adapter_source_ended AFTER INSERT ON version
WHEN NEW.valid_to IS NOT NULL AND EXISTS (SELECT 1 FROM artifact_source WHERE iid IN
    (NEW.iid, (SELECT drawn_from FROM item WHERE iid = NEW.iid)))
BEGIN
    UPDATE artifact SET withdrawn = NEW.seq WHERE withdrawn IS NULL AND kind = 'parametric'
        AND aid IN (SELECT aid FROM artifact_source WHERE iid IN
            (NEW.iid, (SELECT drawn_from FROM item WHERE iid = NEW.iid)));
END;
