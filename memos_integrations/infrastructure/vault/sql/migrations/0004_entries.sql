-- Memories with a name: (cube, namespace, key) -> memory. Each generation of a name is a memory of
-- its own and `iid` is the place of the log it began at, so at any place the newest one that had
-- begun holds the name: what a name held is told by the versions, and no row here ever changes hands.

CREATE TABLE entry (
    iid    INTEGER PRIMARY KEY,
    cid    INTEGER NOT NULL,
    space  TEXT NOT NULL,                      -- '"users","alice",': each segment as JSON, with a comma
    key    TEXT NOT NULL,
    fields TEXT NOT NULL,                      -- JSON array of paths that are searched; [] for none
    ttl    INTEGER                             -- microseconds from the last use to its end
);
CREATE UNIQUE INDEX entry_name ON entry (cid, space, key, iid);

-- A name may be put ten thousand times: the version that holds now is found without its forerunners.
CREATE INDEX version_held ON version (iid, seq_to);
