-- The system of record. Times are microseconds since 1970 UTC. A version is visible at log
-- position s when seq_from <= s < seq_to; present versions have seq_to = 2^63-1.

CREATE TABLE cube (
    cid        INTEGER PRIMARY KEY,
    tenant     TEXT NOT NULL,
    path       TEXT NOT NULL,
    owner      TEXT NOT NULL,
    visibility TEXT NOT NULL DEFAULT 'private',
    embedding  TEXT,
    created    INTEGER NOT NULL,
    fork_of    INTEGER,
    fork_seq   INTEGER,
    info       TEXT NOT NULL DEFAULT '{}',
    UNIQUE (tenant, path)
);

-- Identity and present governance. Rights on the past are the rights held now.
CREATE TABLE item (
    iid         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    cid         INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    visibility  TEXT NOT NULL DEFAULT 'inherit',
    labels      TEXT,                          -- JSON array
    trust       TEXT NOT NULL DEFAULT 'user',
    expires     INTEGER,
    legal_hold  INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0,
    fork_origin INTEGER                        -- iid it was copied from
);
CREATE INDEX item_fork ON item (fork_origin) WHERE fork_origin IS NOT NULL;
CREATE INDEX item_visibility ON item (cid) WHERE visibility <> 'inherit' OR labels IS NOT NULL;
CREATE INDEX item_expires ON item (expires) WHERE expires IS NOT NULL;

-- Words and payload, shared by the versions that did not change them.
CREATE TABLE content (
    tid    INTEGER PRIMARY KEY,
    cid    INTEGER NOT NULL,
    iid    INTEGER NOT NULL,
    fold   BLOB NOT NULL,                      -- hash of speaker and normalised words
    text   TEXT NOT NULL,
    data   TEXT,                               -- JSON object
    spans  TEXT                                -- JSON [[start, end, label, what], ...]
);
CREATE INDEX content_fold ON content (cid, fold);

CREATE TABLE version (
    seq          INTEGER PRIMARY KEY,          -- = seq_from, place in the log
    seq_to       INTEGER NOT NULL DEFAULT 9223372036854775807,
    iid          INTEGER NOT NULL,
    cid          INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    recorded     INTEGER NOT NULL,             -- system time
    tid          INTEGER,                      -- NULL in a tombstone
    state        TEXT NOT NULL,
    before       TEXT,                         -- state before a freeze
    kind         TEXT NOT NULL DEFAULT 'plaintext',
    memory_type  TEXT NOT NULL DEFAULT 'long_term',
    time         INTEGER NOT NULL,
    valid_from   INTEGER NOT NULL,
    valid_to     INTEGER,
    role         TEXT,
    speaker      TEXT,
    conversation TEXT,
    agent        TEXT,
    origin       TEXT NOT NULL DEFAULT 'user_input',
    source       TEXT,
    model        TEXT,
    tags         TEXT,                         -- JSON array
    info         TEXT,                         -- JSON object
    provenance   TEXT,                         -- JSON array of steps
    blobs        TEXT,                         -- JSON array of {sha256, bytes, media_type}
    priority     REAL NOT NULL DEFAULT 0,
    confidence   REAL NOT NULL DEFAULT 1,
    storage_mode TEXT NOT NULL DEFAULT 'warm',
    stale        INTEGER NOT NULL DEFAULT 0,
    merged_into  INTEGER,                      -- iid
    actor        TEXT NOT NULL,
    reason       TEXT NOT NULL
);
CREATE UNIQUE INDEX version_item ON version (iid, version);
CREATE INDEX version_cube ON version (cid, seq_to);
CREATE INDEX version_merged ON version (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX version_source ON version (source, cid) WHERE source IS NOT NULL;

CREATE TABLE embedding (
    tid   INTEGER PRIMARY KEY,
    cid   INTEGER NOT NULL,
    model TEXT NOT NULL,
    vec   BLOB NOT NULL                        -- float32, little endian, unit length
);

CREATE TABLE edge (
    source   INTEGER NOT NULL,                 -- iid
    relation TEXT NOT NULL,
    target   INTEGER NOT NULL,                 -- iid
    target_version INTEGER,
    seq_from INTEGER NOT NULL,
    seq_to   INTEGER NOT NULL DEFAULT 9223372036854775807,
    PRIMARY KEY (source, relation, target, seq_from)
) WITHOUT ROWID;
CREATE INDEX edge_target ON edge (target, relation);

CREATE TABLE access (                          -- "grant" is a keyword of SQL
    gid          INTEGER PRIMARY KEY,
    tenant       TEXT NOT NULL,
    scope        TEXT NOT NULL,                -- cube path; reaches the cubes under it
    iid          INTEGER,                      -- set: reaches this item only
    subject_kind TEXT NOT NULL,
    subject      TEXT NOT NULL,
    permissions  INTEGER NOT NULL,
    effect       TEXT NOT NULL,
    expires      INTEGER,
    granted_by   TEXT NOT NULL,
    created      INTEGER NOT NULL
);
CREATE INDEX access_subject ON access (tenant, subject_kind, subject);

CREATE TABLE outbox (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    cid     INTEGER NOT NULL,
    iid     INTEGER NOT NULL,
    version INTEGER NOT NULL,
    kind    TEXT NOT NULL
);
CREATE INDEX outbox_cube ON outbox (cid, seq);

CREATE TABLE quarantine (                      -- sources whose memories, present and to come, hide
    cid    INTEGER NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (cid, source)
) WITHOUT ROWID;

CREATE TABLE usage (
    iid   INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    last  INTEGER NOT NULL
);

CREATE TABLE task (
    tid          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,
    cid          INTEGER,
    payload      TEXT NOT NULL,
    state        TEXT NOT NULL,                -- waiting running completed failed cancelled
    priority     INTEGER NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    not_before   INTEGER NOT NULL,
    worker       TEXT,
    lease_until  INTEGER,
    progress     REAL NOT NULL DEFAULT 0,
    error        TEXT,
    result       TEXT,
    created      INTEGER NOT NULL,
    updated      INTEGER NOT NULL
);
CREATE INDEX task_due ON task (state, priority DESC, tid) WHERE state IN ('waiting', 'running');

CREATE TABLE idempotency (
    tenant  TEXT NOT NULL,
    actor   TEXT NOT NULL,
    key     TEXT NOT NULL,
    request BLOB NOT NULL,                     -- sha256 of the request
    result  TEXT NOT NULL,                     -- JSON of ids and outcomes
    created INTEGER NOT NULL,
    PRIMARY KEY (tenant, actor, key)
) WITHOUT ROWID;

CREATE TABLE projection (
    name  TEXT NOT NULL,
    cid   INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (name, cid)
) WITHOUT ROWID;

CREATE TABLE projector (                       -- the single writer of an outside projection
    name        TEXT PRIMARY KEY,
    worker      TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
) WITHOUT ROWID;

-- The chain holds commitments only; names and ids stand beside it and can be erased.
CREATE TABLE audit (
    n       INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    action  TEXT NOT NULL,
    outcome TEXT NOT NULL,                     -- allowed denied
    detail  BLOB NOT NULL,                     -- HMAC-SHA256(key, audit_detail.body)
    prev    BLOB NOT NULL,
    hash    BLOB NOT NULL
);
CREATE TABLE audit_detail (
    n      INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    actor  TEXT NOT NULL,
    body   TEXT NOT NULL                       -- canonical JSON: tenant, actor, cube, items, reason
);
CREATE INDEX audit_actor ON audit_detail (tenant, actor);
CREATE TABLE audit_erased (                    -- details that an erase took out, on purpose
    n  INTEGER PRIMARY KEY,
    by INTEGER NOT NULL                        -- audit.n of the erase
);

CREATE TABLE blob (
    sha256     TEXT PRIMARY KEY,
    bytes      INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    created    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE blob_use (
    sha256 TEXT NOT NULL,
    iid    INTEGER NOT NULL,
    PRIMARY KEY (sha256, iid)
) WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
