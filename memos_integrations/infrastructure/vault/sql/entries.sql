-- Named memories. The governed parts go behind the head of governed.sql, so the access decision
-- stays inside the query. Bound besides: :names :from :below :iids

-- name: in_space
FROM gate g
CROSS JOIN entry n ON n.cid = g.cid AND n.space >= :from AND n.space < :below
CROSS JOIN version v ON v.iid = n.iid AND v.seq_to > :seq AND v.seq <= :seq
CROSS JOIN item i ON i.iid = n.iid
LEFT JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid

-- name: spaces
SELECT DISTINCT n.space AS space FROM gate g
CROSS JOIN entry n ON n.cid = g.cid AND n.space >= :from AND n.space < :below

-- name: in_one_space
FROM gate g
CROSS JOIN entry n ON n.cid = g.cid AND n.space = s.space
CROSS JOIN version v ON v.iid = n.iid AND v.seq_to > :seq AND v.seq <= :seq
CROSS JOIN item i ON i.iid = n.iid

-- name: of_names
FROM json_each(:names) w
CROSS JOIN entry n ON n.cid = json_extract(w.value, '$[0]')
    AND n.space = json_extract(w.value, '$[1]') AND n.key = json_extract(w.value, '$[2]')
CROSS JOIN version v ON v.iid = n.iid AND v.seq_to > :seq AND v.seq <= :seq
CROSS JOIN gate g ON g.cid = +v.cid
CROSS JOIN item i ON i.iid = n.iid
LEFT JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid

-- name: of_items
FROM json_each(:iids) w
CROSS JOIN entry n ON n.iid = w.value
CROSS JOIN version v ON v.iid = n.iid AND v.seq_to > :seq AND v.seq <= :seq
CROSS JOIN gate g ON g.cid = +v.cid
CROSS JOIN item i ON i.iid = n.iid
LEFT JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid

-- name: newest
NOT EXISTS (
    SELECT 1 FROM entry m
    WHERE m.cid = n.cid AND m.space = n.space AND m.key = n.key AND m.iid > n.iid AND m.iid <= :seq)

-- name: held
-- A memory that was merged into another still holds its name: a merge must not lose a value.
(v.tid IS NOT NULL AND i.quarantined = 0
    AND (i.expires IS NULL OR i.expires > :now OR i.legal_hold))

-- name: holders
SELECT n.cid, n.space, n.key, max(n.iid)
FROM json_each(?) w
CROSS JOIN entry n ON n.cid = json_extract(w.value, '$[0]')
    AND n.space = json_extract(w.value, '$[1]') AND n.key = json_extract(w.value, '$[2]')
GROUP BY n.cid, n.space, n.key

-- name: name
INSERT INTO entry (iid, cid, space, key, fields, ttl) VALUES (?, ?, ?, ?, ?, ?)

-- name: rename
UPDATE entry SET fields = ?, ttl = ? WHERE iid = ?

-- name: refresh
UPDATE item SET expires = ?2 WHERE iid = ?1 AND expires > ?3 AND expires < ?2

-- name: copy
INSERT OR IGNORE INTO entry (iid, cid, space, key, fields, ttl)
SELECT json_extract(p.value, '$[1]'), :cid, o.space, o.key, o.fields, o.ttl
FROM json_each(:pairs) p JOIN entry o ON o.iid = json_extract(p.value, '$[0]')
WHERE NOT EXISTS (
    SELECT 1 FROM entry m
    WHERE m.cid = o.cid AND m.space = o.space AND m.key = o.key AND m.iid > o.iid AND m.iid <= :upto)

-- name: same_names
SELECT o.iid, max(m.iid) FROM json_each(?1) w
JOIN entry o ON o.iid = w.value
JOIN entry m ON m.cid = ?2 AND m.space = o.space AND m.key = o.key
GROUP BY o.iid

-- name: take_fields
UPDATE entry SET (fields, ttl) = (SELECT o.fields, o.ttl FROM entry o WHERE o.iid = ?2)
WHERE iid = ?1 AND EXISTS (SELECT 1 FROM entry o WHERE o.iid = ?2)

-- name: places
SELECT n.iid FROM entry n
WHERE n.cid = :cid AND n.space >= :from AND n.space < :below AND n.iid <= :seq AND NOT EXISTS (
    SELECT 1 FROM entry m
    WHERE m.cid = n.cid AND m.space = n.space AND m.key = n.key AND m.iid > n.iid AND m.iid <= :seq)

-- name: of_rows
SELECT iid, space, key, fields, ttl FROM entry WHERE iid IN (SELECT value FROM json_each(?))
