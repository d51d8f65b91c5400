-- Records: governed bytes under a name. The reading ones go behind the head of governed.sql, so
-- that the access decision stays inside the query.
-- Bound: :space :session :now, :keys (JSON array) or :low :high, :limit

-- name: seen
g.allowed AND NOT g.denied AND (r.expires IS NULL OR r.expires > :now)
AND (:session IS NULL OR r.session = :session)

-- name: values
SELECT k.value, v.value FROM gate g CROSS JOIN json_each(:keys) k
CROSS JOIN record r ON r.cid = g.cid AND r.space = :space AND r.key = k.value
CROSS JOIN record_value v ON v.vid = r.vid WHERE

-- name: times
SELECT k.value, r.written FROM gate g CROSS JOIN json_each(:keys) k
CROSS JOIN record r ON r.cid = g.cid AND r.space = :space AND r.key = k.value WHERE

-- name: keys
SELECT r.key, NULL FROM gate g
CROSS JOIN record r ON r.cid = g.cid AND r.space = :space AND r.key >= :low AND r.key < :high WHERE

-- name: items
SELECT r.key, v.value FROM gate g
CROSS JOIN record r ON r.cid = g.cid AND r.space = :space AND r.key >= :low AND r.key < :high
CROSS JOIN record_value v ON v.vid = r.vid WHERE

-- name: forward
ORDER BY r.key LIMIT :limit

-- name: backward
ORDER BY r.key DESC LIMIT :limit

-- name: alive
SELECT 1 FROM record r WHERE r.cid = :cid AND r.space = :space AND r.key = :key
AND (r.expires IS NULL OR r.expires > :now)

-- name: standing
SELECT r.rid, (SELECT v.value = :value FROM record_value v WHERE v.vid = r.vid)
FROM record r WHERE r.cid = :cid AND r.space = :space AND r.key = :key

-- name: new_value
INSERT INTO record_value (value) VALUES (:value) RETURNING vid

-- name: new
INSERT INTO record (cid, space, key, vid, session, owner, written, expires)
VALUES (:cid, :space, :key, :vid, :session, :owner, :at, :expires)

-- name: renew
-- The same bytes again rewrite no page of the value.
UPDATE record SET session = :session, owner = :owner, written = :at, expires = :expires,
    copied = 0, vid = coalesce(:vid, vid)
WHERE rid = :rid

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
-- All that lies in the home and under it, what they wrote elsewhere, and what forks copied of the
-- home. '0' follows '/', so the range holds the paths that start with 'home/'.
SELECT r.rid FROM record r JOIN cube c ON c.cid = r.cid
WHERE c.tenant = :tenant AND (c.path = :home
    OR (c.path > :home || '/' AND c.path < :home || '0') OR r.owner = :owner)
UNION
SELECT r.rid FROM record r JOIN cube c ON c.cid = r.copied
WHERE r.copied <> 0 AND c.tenant = :tenant AND (c.path = :home
    OR (c.path > :home || '/' AND c.path < :home || '0'))

-- name: of_session
SELECT rid FROM record WHERE session = :session AND :cid IN (cid, copied)

-- name: samples
SELECT DISTINCT substr(v.value, 1, :bytes) FROM record r JOIN record_value v ON v.vid = r.vid
WHERE r.rid IN (SELECT value FROM json_each(:rids)) AND length(v.value) >= :least
ORDER BY length(v.value) DESC LIMIT :limit

-- name: remove
DELETE FROM record WHERE rid IN (SELECT value FROM json_each(:rids))

-- name: counts
SELECT c.cid, c.tenant, c.path, count(*) FROM record r JOIN cube c ON c.cid = r.cid
WHERE r.rid IN (SELECT value FROM json_each(:rids)) GROUP BY c.cid ORDER BY c.tenant, c.path

-- name: fork
-- Those of now, or those of then that nobody has written since: records keep no history.
INSERT INTO record (cid, space, key, vid, session, owner, written, expires, copied)
SELECT :branch, space, key, vid, session, owner, written, expires, iif(copied, copied, cid)
FROM record
WHERE cid = :cid AND (expires IS NULL OR expires > :now) AND (:then IS NULL OR written <= :then)

-- name: all
SELECT r.vid, r.space, r.key, r.session, r.owner, r.written, r.expires FROM gate g
CROSS JOIN record r ON r.cid = g.cid
WHERE g.allowed AND NOT g.denied AND (r.expires IS NULL OR r.expires > :now)
ORDER BY r.space, r.key

-- name: next_end
SELECT min(ends) FROM (
    SELECT min(expires) AS ends FROM item WHERE cid = :cid AND expires > :now AND NOT legal_hold
    UNION ALL
    SELECT min(valid_to) FROM version
    WHERE cid = :cid AND valid_to > :now AND seq_to = 9223372036854775807)

-- name: next_right
-- Of a single memory wherever it lies: what was drawn from it elsewhere is hidden with it.
SELECT min(a.expires) FROM json_each(:subjects) s
CROSS JOIN access a ON a.tenant = :tenant
    AND a.subject_kind = json_extract(s.value, '$[0]')
    AND a.subject = json_extract(s.value, '$[1]')
WHERE a.expires > :now AND (a.iid IS NOT NULL OR EXISTS (
    SELECT 1 FROM json_each(:cubes) c JOIN cube ON cube.cid = c.value
    WHERE a.scope = cube.path OR substr(cube.path, 1, length(a.scope) + 1) = a.scope || '/'))

-- name: value
SELECT value FROM record_value WHERE vid = ?
