-- Records: governed bytes under a name. The reading ones go behind the head of governed.sql, so
-- that the access decision stays inside the query.
-- Bound: :space :session :now, :keys (JSON array) or :low :high, :limit

-- name: seen
g.allowed AND NOT g.denied AND (r.expires IS NULL OR r.expires > :now)
AND (:session IS NULL OR r.session = :session)

-- name: values
SELECT k.value, v.value FROM gate g CROSS JOIN json_each(:keys) k
CROSS JOIN record r ON r.cid = g.cid AND r.space = :space AND r.key = k.value
CROSS JOIN record_value v ON v.rid = r.rid WHERE

-- name: times
SELECT k.value, r.written FROM gate g CROSS JOIN json_each(:keys) k
CROSS JOIN record r ON r.cid = g.cid AND r.space = :space AND r.key = k.value WHERE

-- name: keys
SELECT r.key, NULL FROM gate g
CROSS JOIN record r ON r.cid = g.cid AND r.space = :space AND r.key >= :low AND r.key < :high WHERE

-- name: items
SELECT r.key, v.value FROM gate g
CROSS JOIN record r ON r.cid = g.cid AND r.space = :space AND r.key >= :low AND r.key < :high
CROSS JOIN record_value v ON v.rid = r.rid WHERE

-- name: forward
ORDER BY r.key LIMIT :limit

-- name: backward
ORDER BY r.key DESC LIMIT :limit

-- name: put
INSERT INTO record (cid, space, key, session, owner, written, expires)
VALUES (:cid, :space, :key, :session, :owner, :at, :expires)
ON CONFLICT (cid, space, key) DO UPDATE SET session = excluded.session, owner = excluded.owner,
    written = excluded.written, expires = excluded.expires, copied = 0
WHERE NOT :keep OR record.expires <= :now
RETURNING rid

-- name: put_value
-- The same bytes again rewrite no page.
INSERT INTO record_value (rid, value) VALUES (?, ?)
ON CONFLICT (rid) DO UPDATE SET value = excluded.value WHERE value <> excluded.value

-- name: delete
DELETE FROM record WHERE cid = :cid AND space = :space
AND key IN (SELECT value FROM json_each(:keys)) AND (:session IS NULL OR session = :session)
RETURNING expires IS NULL OR expires > :now

-- name: clear
DELETE FROM record WHERE cid = :cid AND space = :space AND key >= :low AND key < :high
AND (:session IS NULL OR session = :session)
RETURNING expires IS NULL OR expires > :now

-- name: sweep
DELETE FROM record WHERE rid IN (
    SELECT rid FROM record WHERE expires IS NOT NULL AND expires <= :now ORDER BY expires
    LIMIT :limit)

-- name: of_subject
-- All that lies in the home, what they wrote elsewhere, and what forks copied of the home.
SELECT r.rid FROM record r JOIN cube c ON c.cid = r.cid
WHERE c.tenant = :tenant AND (c.path = :home OR r.owner = :owner)
UNION
SELECT r.rid FROM record r WHERE r.copied AND r.cid IN (
    WITH RECURSIVE branch (cid) AS (
        SELECT cid FROM cube WHERE tenant = :tenant AND path = :home
        UNION SELECT c.cid FROM cube c JOIN branch b ON c.fork_of = b.cid)
    SELECT cid FROM branch)

-- name: of_session
SELECT r.rid FROM record r WHERE r.session = :session AND (r.cid = :cid OR r.copied AND r.cid IN (
    WITH RECURSIVE branch (cid) AS (
        SELECT :cid UNION SELECT c.cid FROM cube c JOIN branch b ON c.fork_of = b.cid)
    SELECT cid FROM branch))

-- name: samples
SELECT substr(value, 1, :bytes) FROM record_value
WHERE rid IN (SELECT value FROM json_each(:rids)) AND length(value) >= :least
ORDER BY length(value) DESC LIMIT :limit

-- name: remove
DELETE FROM record WHERE rid IN (SELECT value FROM json_each(?))

-- name: fork
-- Those of now, or those of then that nobody has written since: records keep no history.
SELECT rid FROM record WHERE cid = :cid AND (expires IS NULL OR expires > :now)
AND (:then IS NULL OR written <= :then)

-- name: copy
INSERT INTO record (cid, space, key, session, owner, written, expires, copied)
SELECT :branch, space, key, session, owner, written, expires, 1 FROM record WHERE rid = :rid
RETURNING rid

-- name: copy_value
INSERT INTO record_value (rid, value) SELECT :new, value FROM record_value WHERE rid = :rid

-- name: all
SELECT r.rid, r.space, r.key, r.session, r.owner, r.written, r.expires FROM gate g
CROSS JOIN record r ON r.cid = g.cid
WHERE g.allowed AND NOT g.denied AND (r.expires IS NULL OR r.expires > :now)
ORDER BY r.space, r.key

-- name: value
SELECT value FROM record_value WHERE rid = ?
