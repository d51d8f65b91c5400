-- What makes the rough memory an organised one. Keys of facts and names are hashes: the words
-- themselves stand in `content` only, so an erase and a mask have one place to look after.

ALTER TABLE item ADD COLUMN drawn_from INTEGER;   -- iid of the memory whose words it restates
CREATE INDEX item_drawn ON item (drawn_from) WHERE drawn_from IS NOT NULL;

-- Further vectors of the same words: 0 the bare words, 1 and up their sentences.
CREATE TABLE part_vector (
    tid   INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    cid   INTEGER NOT NULL,
    model TEXT NOT NULL,
    vec   BLOB NOT NULL,                       -- float32, little endian, unit length
    PRIMARY KEY (tid, part)
) WITHOUT ROWID;

-- Dates that the words speak of, normalised against the time they were said at.
CREATE TABLE spoken_time (
    iid       INTEGER NOT NULL,
    starts    INTEGER NOT NULL,
    ends      INTEGER NOT NULL,                -- exclusive
    grain     TEXT NOT NULL,
    PRIMARY KEY (iid, starts, ends)
) WITHOUT ROWID;

-- Which statement a fact makes, so that a later one can contradict it.
CREATE TABLE fact (
    iid    INTEGER PRIMARY KEY,
    cid    INTEGER NOT NULL,
    slot   BLOB NOT NULL,                      -- hash of owner, subject and attribute
    value  BLOB NOT NULL,                      -- hash of the folded value
    single INTEGER NOT NULL,
    negated INTEGER NOT NULL,
    until  INTEGER                             -- where its own source ends it
);
CREATE INDEX fact_slot ON fact (cid, slot, negated, value);

-- The entity graph: which memory names whom.
CREATE TABLE mention (
    cid    INTEGER NOT NULL,
    entity BLOB NOT NULL,                      -- hash of the folded name
    iid    INTEGER NOT NULL,
    PRIMARY KEY (cid, entity, iid)
) WITHOUT ROWID;
CREATE INDEX mention_item ON mention (iid);

-- Words of cold memories, compressed; `text` is then empty. Connections read `content` through a
-- view of their own that unpacks, so no query can forget to.
ALTER TABLE content ADD COLUMN packed BLOB;

-- Reads of a memory, decayed to `at`; and when it last changed its tier.
CREATE TABLE heat (
    iid   INTEGER PRIMARY KEY,
    score REAL NOT NULL,
    at    INTEGER NOT NULL,
    moved INTEGER
);

-- Whose task it is, so that the queue can be shared fairly and measured per tenant.
ALTER TABLE task ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
CREATE INDEX task_tenant ON task (tenant, priority DESC, tid)
    WHERE state IN ('waiting', 'running');
CREATE INDEX task_ended ON task (state, updated)
    WHERE state IN ('completed', 'cancelled', 'failed');
UPDATE task SET tenant = coalesce((SELECT c.tenant FROM cube c WHERE c.cid = task.cid), '');

-- How much of the queue each tenant was served, in units of work since it last fell idle.
CREATE TABLE task_share (
    tenant TEXT PRIMARY KEY,
    served REAL NOT NULL
) WITHOUT ROWID;

-- Which call of a tool a memory tells of, so that the same call finds its result again.
CREATE TABLE tool_call (
    cid  INTEGER NOT NULL,
    tool BLOB NOT NULL,                        -- keyed hash of the tool's name
    args BLOB NOT NULL,                        -- keyed hash of the unmasked canonical arguments
    iid  INTEGER NOT NULL,
    PRIMARY KEY (cid, tool, args, iid)
) WITHOUT ROWID;
CREATE INDEX tool_call_item ON tool_call (iid);

-- Where to look for messages that are nearly the same.
CREATE TABLE sketch (
    cid    INTEGER NOT NULL,
    bucket BLOB NOT NULL,                      -- hash of normalised words, or of a band of them
    iid    INTEGER NOT NULL,
    PRIMARY KEY (cid, bucket, iid)
) WITHOUT ROWID;
CREATE INDEX sketch_item ON sketch (iid);
