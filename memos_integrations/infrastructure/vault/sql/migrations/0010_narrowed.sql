-- Who may see a memory is part of the key of what was computed of it. When that changes, what was
-- computed before stands under a key that others may name: it is withdrawn by the tables, in that
-- transaction. What lies in memory is told apart by the place of the log at which it was read.
ALTER TABLE item ADD COLUMN narrowed INTEGER;              -- log position; NULL: never was

CREATE TRIGGER item_shown_otherwise AFTER UPDATE OF visibility, labels, quarantined ON item
WHEN NEW.visibility <> OLD.visibility OR NEW.labels IS NOT OLD.labels
    OR NEW.quarantined > OLD.quarantined
BEGIN
    UPDATE item SET narrowed = (SELECT coalesce(max(seq), 0) FROM outbox) WHERE iid = NEW.iid;
END;
-- A denial of a memory is one of what was drawn from it.
CREATE TRIGGER item_denied AFTER INSERT ON access
WHEN NEW.iid IS NOT NULL AND NEW.effect = 'deny' AND NEW.permissions & 1
BEGIN
    UPDATE item SET narrowed = (SELECT coalesce(max(seq), 0) FROM outbox)
        WHERE iid = NEW.iid OR drawn_from = NEW.iid;
END;

CREATE TRIGGER artifact_source_narrowed AFTER UPDATE OF narrowed ON item
WHEN EXISTS (SELECT 1 FROM artifact_source WHERE iid = NEW.iid)
BEGIN
    UPDATE artifact SET withdrawn = NEW.narrowed WHERE withdrawn IS NULL AND kind = 'activation'
        AND aid IN (SELECT aid FROM artifact_source WHERE iid = NEW.iid);
END;
