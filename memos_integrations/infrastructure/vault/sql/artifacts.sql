-- Artifacts made of memories. A row that was withdrawn is never served again; its blob goes with it.

-- name: find
-- The one that covers the most of the prompt: :blocks is a JSON array of [block hash, place].
SELECT a.key, a.sha256, a.tokens, a.bytes, a.build_seconds, a.architecture, a.pinned, b.place
FROM json_each(:blocks) asked
JOIN artifact_block b ON b.block = json_extract(asked.value, '$[0]')
    AND b.place = json_extract(asked.value, '$[1]')
JOIN artifact a ON a.aid = b.aid
WHERE a.withdrawn IS NULL AND a.kind = 'activation' AND a.identity = :identity
    AND a.tenant = :tenant
ORDER BY b.place DESC, a.aid LIMIT 1

-- name: serves
SELECT 1 FROM artifact_block b JOIN artifact a ON a.aid = b.aid
WHERE b.block = ? AND a.withdrawn IS NULL LIMIT 1

-- name: blob_of
SELECT sha256 FROM artifact WHERE key = :key

-- name: add
INSERT INTO artifact (tenant, kind, key, identity, tokens, bytes, build_seconds, sha256, created,
    architecture, pinned)
VALUES (:tenant, :kind, :key, :identity, :tokens, :bytes, :build_seconds, :sha256, :created,
    :architecture, :pinned)
ON CONFLICT (key) DO UPDATE SET sha256 = excluded.sha256, bytes = excluded.bytes,
    created = excluded.created, pinned = max(pinned, excluded.pinned), withdrawn = NULL
RETURNING aid

-- name: add_blocks
INSERT OR IGNORE INTO artifact_block (block, aid, place)
SELECT json_extract(value, '$[0]'), :aid, json_extract(value, '$[1]') FROM json_each(:blocks)

-- name: forget_sources
DELETE FROM artifact_source WHERE aid = :aid

-- name: add_sources
INSERT INTO artifact_source (iid, aid, version, tid)
SELECT i.iid, :aid, v.version, v.tid FROM json_each(:sources)
JOIN item i ON i.id = json_extract(value, '$[0]')
JOIN version v ON v.iid = i.iid AND v.version = json_extract(value, '$[1]')

-- name: stale
-- Those of the asked sources, [[id, version, place of the log or null], ...], that no longer stand
-- as they were read. An end of sight at the very place may have come after the reading.
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
FROM json_each(:sources) WHERE NOT EXISTS (
    SELECT 1 FROM item i
    JOIN version made ON made.iid = i.iid AND made.version = json_extract(value, '$[1]')
    JOIN version v ON v.iid = i.iid AND v.seq_to = 9223372036854775807 AND v.tid = made.tid
    WHERE i.id = json_extract(value, '$[0]')
    AND v.state NOT IN ('archived', 'merged', 'expired', 'deleted') AND NOT v.stale AND NOT i.quarantined AND (i.expires IS NULL OR i.expires > :now)
    AND (i.narrowed < json_extract(value, '$[2]') OR i.narrowed IS NULL
        OR json_extract(value, '$[2]') IS NULL))

-- name: withdrawn
SELECT aid, sha256 FROM artifact WHERE withdrawn IS NOT NULL AND kind = 'activation'

-- name: named
SELECT aid, sha256 FROM artifact
WHERE key IN (SELECT value FROM json_each(:keys)) AND kind = 'activation'

-- name: made_of
SELECT DISTINCT a.aid, a.sha256 FROM artifact a JOIN artifact_source s ON s.aid = a.aid
WHERE s.iid IN (SELECT value FROM json_each(:items))

-- name: sources_of
SELECT i.id, s.version FROM artifact a JOIN artifact_source s ON s.aid = a.aid
JOIN item i ON i.iid = s.iid WHERE a.key = :key

-- name: blocks_of
SELECT b.block FROM artifact a JOIN artifact_block b ON b.aid = a.aid
WHERE a.key = :key ORDER BY b.place

-- name: any_withdrawn
SELECT 1 FROM artifact WHERE withdrawn IS NOT NULL AND kind = 'activation' LIMIT 1

-- name: remove_blocks
DELETE FROM artifact_block WHERE aid IN (SELECT value FROM json_each(:aids))

-- name: remove_sources
DELETE FROM artifact_source WHERE aid IN (SELECT value FROM json_each(:aids))

-- name: remove
DELETE FROM artifact WHERE aid IN (SELECT value FROM json_each(:aids))

-- name: blob_used
SELECT 1 FROM artifact WHERE sha256 = :sha256
UNION ALL SELECT 1 FROM blob_use WHERE sha256 = :sha256 LIMIT 1
