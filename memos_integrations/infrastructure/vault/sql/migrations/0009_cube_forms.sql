-- How often cubes are asked, and in which form each is kept for a hosted model. Numbers, names of
-- models and hashes only. What exists in a form stands in artifact and adapter; what was decided
-- stands here.

CREATE TABLE cube_heat (
    cid   INTEGER PRIMARY KEY,
    score REAL NOT NULL,                       -- calls that read of it, halved each half-life
    at    INTEGER NOT NULL
);

CREATE TABLE cube_form (
    cid      INTEGER NOT NULL,
    model    TEXT NOT NULL,                    -- the name it is hosted under
    form     TEXT NOT NULL,                    -- activation parametric
    decided  INTEGER NOT NULL,                 -- 1: promoted, 0: demoted
    moved    INTEGER NOT NULL,                 -- when that was decided
    failures INTEGER NOT NULL DEFAULT 0,       -- builds that came to nothing since one that did not
    key      TEXT,                             -- of the cache that was built
    PRIMARY KEY (cid, model, form)
) WITHOUT ROWID;

-- The number of a cube that is gone may be given to another one.
CREATE TRIGGER cube_form_gone AFTER DELETE ON cube
BEGIN
    DELETE FROM cube_heat WHERE cid = OLD.cid;
    DELETE FROM cube_form WHERE cid = OLD.cid;
END;
