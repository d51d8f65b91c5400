-- Governed bytes under a name beside the memories: checkpoints, caches, documents of a framework.
-- They are no memories: not searched, without versions, and no part of the log. Keys are escaped
-- so that none holds NUL (see vault/records.py).
CREATE TABLE record (
    rid     INTEGER PRIMARY KEY,
    cid     INTEGER NOT NULL,
    space   TEXT NOT NULL,                     -- whose records: 'langgraph.checkpoints' ...
    key     TEXT NOT NULL,
    vid     INTEGER NOT NULL,
    session TEXT,                              -- the conversation they belong to
    owner   TEXT NOT NULL,                     -- who wrote it last
    written INTEGER NOT NULL,
    expires INTEGER,
    copied  INTEGER NOT NULL DEFAULT 0         -- cube it was written in, where a fork brought it
);
CREATE UNIQUE INDEX record_key ON record (cid, space, key);
CREATE INDEX record_shares ON record (vid);
CREATE INDEX record_owner ON record (owner);
CREATE INDEX record_expires ON record (expires) WHERE expires IS NOT NULL;
CREATE INDEX record_session ON record (session, cid) WHERE session IS NOT NULL;
CREATE INDEX record_copied ON record (copied) WHERE copied <> 0;

-- When a cube changes by itself: for caches of what was made of its memories.
CREATE INDEX item_ends ON item (cid, expires) WHERE expires IS NOT NULL;
CREATE INDEX version_ends ON version (cid, valid_to) WHERE valid_to IS NOT NULL;

-- Apart, so that listing keys, new times and sweeping touch no page of a value, and that a fork
-- shares the values of its source until one of the two writes its own.
CREATE TABLE record_value (
    vid   INTEGER PRIMARY KEY,
    value BLOB NOT NULL
);
CREATE TRIGGER record_gone AFTER DELETE ON record BEGIN
    DELETE FROM record_value WHERE vid = OLD.vid
        AND NOT EXISTS (SELECT 1 FROM record WHERE vid = OLD.vid);
END;
CREATE TRIGGER record_rewritten AFTER UPDATE OF vid ON record WHEN OLD.vid <> NEW.vid BEGIN
    DELETE FROM record_value WHERE vid = OLD.vid
        AND NOT EXISTS (SELECT 1 FROM record WHERE vid = OLD.vid);
END;
