-- A whole cube out and in. The governed parts go behind the head of governed.sql, so the access
-- decision stays inside the query.

-- name: places
FROM gate g
JOIN version v ON v.cid = g.cid
JOIN item i ON i.iid = v.iid

-- name: told
FROM json_each(:seqs) w
CROSS JOIN version v ON v.seq = w.value
JOIN gate g ON g.cid = v.cid
JOIN item i ON i.iid = v.iid
LEFT JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid

-- name: links
SELECT seq_from AS at, 'link' AS event, source, relation, target, target_version
FROM edge WHERE source IN (SELECT value FROM json_each(?1))
UNION ALL
SELECT seq_to, 'unlink', source, relation, target, NULL
FROM edge WHERE source IN (SELECT value FROM json_each(?1)) AND seq_to < 9223372036854775807
ORDER BY at

-- name: grants
SELECT iid, subject_kind, subject, permissions, effect, expires FROM access
WHERE tenant = ?1 AND scope = ?2
  AND (iid IS NULL OR iid IN (SELECT value FROM json_each(?3)))
ORDER BY gid

-- name: vectors
SELECT tid, vec FROM embedding
WHERE model = ? AND tid IN (SELECT value FROM json_each(?))

-- name: erased_since
SELECT 1 FROM outbox WHERE cid = ? AND seq > ? AND kind = 'erased' LIMIT 1

-- name: quarantine
UPDATE item SET quarantined = 1 WHERE iid = ?

-- name: hold
UPDATE item SET legal_hold = 1 WHERE iid IN (
    SELECT iid FROM version
    WHERE cid = ? AND seq_to = 9223372036854775807 AND state = 'frozen')

-- name: blob
INSERT OR IGNORE INTO blob (sha256, bytes, media_type, created) VALUES (?, ?, ?, ?)

-- name: blob_use
INSERT OR IGNORE INTO blob_use (sha256, iid) VALUES (?, ?)

-- name: unfinished
SELECT v.iid FROM version v
WHERE v.cid = ?1 AND v.seq_to = 9223372036854775807 AND v.tid IS NOT NULL
  AND (v.state = 'generated' OR (?2 IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM embedding e WHERE e.tid = v.tid AND e.model = ?2)))
ORDER BY v.iid

-- name: blob_is_named
SELECT 1 FROM blob WHERE sha256 = ?1 UNION ALL SELECT 1 FROM blob_use WHERE sha256 = ?1
UNION ALL SELECT 1 FROM artifact WHERE sha256 = ?1 LIMIT 1

-- name: blob_users
SELECT u.iid, i.cid FROM blob_use u JOIN item i ON i.iid = u.iid WHERE u.sha256 = ?

-- name: forget_claims
DELETE FROM idempotency WHERE key IN (SELECT value FROM json_each(?))
