-- What lies on disk of caches, how it was used, and who may be told of it. The parts of
-- governed.sql go before `seen` and `readable`, and into them in place of their names.

-- name: seen
-- Of the asker's tenant: those made of nothing but memories that the asker holds the right on. One
-- that was made of none is for admins alone. :within are cube rows that a source lies in, or NULL.
SELECT a.key, a.tenant, a.architecture, a.tokens, a.bytes, a.hits, a.saved_seconds,
    a.build_seconds, a.created, a.used, a.pinned, a.withdrawn,
    (SELECT count(*) FROM artifact_source s WHERE s.aid = a.aid)
FROM artifact a
WHERE a.kind = 'activation' AND a.tenant = :tenant
AND (:within IS NULL OR EXISTS (
    SELECT 1 FROM artifact_source s JOIN item i ON i.iid = s.iid
    WHERE s.aid = a.aid AND i.cid IN (SELECT value FROM json_each(:within))))
AND (:admin OR (
    EXISTS (SELECT 1 FROM artifact_source s WHERE s.aid = a.aid)
    AND NOT EXISTS (
        SELECT 1 FROM artifact_source s
        LEFT JOIN item i ON i.iid = s.iid LEFT JOIN gate g ON g.cid = i.cid
        WHERE s.aid = a.aid AND NOT coalesce({present} AND {item_allowed}, 0))))
ORDER BY a.aid

-- name: readable
-- Of these items those that the asker holds the right on, and the cubes they lie in.
SELECT i.id, i.cid FROM json_each(:items) w
CROSS JOIN item i ON i.id = w.value
CROSS JOIN gate g ON g.cid = +i.cid
WHERE {present} AND {item_allowed}

-- name: used
UPDATE artifact SET hits = hits + :hits, saved_seconds = saved_seconds + :saved_seconds,
    used = max(coalesce(used, 0), :used) WHERE key = :key

-- name: asked
INSERT INTO cache_use (tenant, hits, misses, saved_seconds)
VALUES (:tenant, :hits, :misses, :saved_seconds)
ON CONFLICT (tenant) DO UPDATE SET hits = hits + excluded.hits,
    misses = misses + excluded.misses, saved_seconds = saved_seconds + excluded.saved_seconds

-- name: totals
SELECT hits, misses, saved_seconds FROM cache_use WHERE tenant = ?

-- name: pin
UPDATE artifact SET pinned = :pinned WHERE kind = 'activation' AND key = :key

-- name: residents
SELECT key, bytes, build_seconds, hits, coalesce(used, created), pinned FROM artifact
WHERE kind = 'activation'

-- name: rows
SELECT a.key, a.identity, a.tokens, a.bytes, a.sha256, a.withdrawn,
    EXISTS (SELECT 1 FROM artifact_block b WHERE b.aid = a.aid AND b.block = a.key),
    EXISTS (SELECT 1 FROM artifact_source s WHERE s.aid = a.aid AND NOT EXISTS (
        SELECT 1 FROM version v WHERE v.iid = s.iid AND v.version = s.version))
FROM artifact a WHERE a.kind = 'activation' ORDER BY a.aid

-- name: named_blobs
SELECT sha256 FROM artifact UNION SELECT sha256 FROM blob UNION SELECT sha256 FROM blob_use
UNION SELECT substr(key, length(:claim) + 1) FROM idempotency
WHERE substr(key, 1, length(:claim)) = :claim
