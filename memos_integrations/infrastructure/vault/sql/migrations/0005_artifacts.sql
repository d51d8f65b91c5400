-- What was made of memories and is no memory itself: KV-caches, and later adapters. Text stays the
-- truth; a row tells which bytes were made of which versions. `key` and `block` are hashes.

CREATE TABLE artifact (
    aid           INTEGER PRIMARY KEY,
    tenant        TEXT NOT NULL,
    kind          TEXT NOT NULL,               -- activation parametric
    key           TEXT NOT NULL UNIQUE,
    identity      TEXT NOT NULL,               -- digest of the model, tokenizer and library
    tokens        INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    build_seconds REAL NOT NULL,
    sha256        TEXT NOT NULL,               -- the blob it lies in
    created       INTEGER NOT NULL,
    withdrawn     INTEGER                      -- log position at which a source changed
);
CREATE INDEX artifact_withdrawn ON artifact (aid) WHERE withdrawn IS NOT NULL;

CREATE TABLE artifact_block (
    block TEXT NOT NULL,
    aid   INTEGER NOT NULL,
    place INTEGER NOT NULL,                    -- blocks of the prompt up to this one
    PRIMARY KEY (block, aid)
) WITHOUT ROWID;
CREATE INDEX artifact_block_of ON artifact_block (aid);

CREATE TABLE artifact_source (
    iid     INTEGER NOT NULL,
    aid     INTEGER NOT NULL,
    version INTEGER NOT NULL,
    tid     INTEGER NOT NULL,                  -- the words of that version
    PRIMARY KEY (iid, aid)
) WITHOUT ROWID;
CREATE INDEX artifact_source_of ON artifact_source (aid);

-- A version of a source with other words, or one that no longer stands, withdraws what was made of
-- it, whoever writes it and in the same transaction. No code path can forget to.
CREATE TRIGGER artifact_source_changed AFTER INSERT ON version
WHEN EXISTS (SELECT 1 FROM artifact_source WHERE iid = NEW.iid AND (tid IS NOT NEW.tid
    OR NEW.stale OR NEW.state IN ('archived', 'merged', 'expired', 'deleted')))
BEGIN
    UPDATE artifact SET withdrawn = NEW.seq WHERE withdrawn IS NULL
        AND aid IN (SELECT aid FROM artifact_source WHERE iid = NEW.iid);
END;

-- And one that is erased takes it along, should whoever erases not have named it.
CREATE TRIGGER artifact_source_gone AFTER DELETE ON version
WHEN EXISTS (SELECT 1 FROM artifact_source WHERE iid = OLD.iid)
BEGIN
    UPDATE artifact SET withdrawn = OLD.seq WHERE withdrawn IS NULL
        AND aid IN (SELECT aid FROM artifact_source WHERE iid = OLD.iid);
END;
