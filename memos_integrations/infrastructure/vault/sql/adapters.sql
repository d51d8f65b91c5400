-- Adapters and the shards of memories they are made of.
-- READABLE stands for: the source is as it was learnt, and this principal may be shown it now.

-- name: members
-- Which shard each memory of a cube belongs to; tombstones leave their place to others.
SELECT m.iid, m.shard FROM adapter_shard m
JOIN version v ON v.iid = m.iid AND v.seq_to = 9223372036854775807 AND v.tid IS NOT NULL
WHERE m.cid = :cid AND m.model = :model ORDER BY m.iid

-- name: join_shard
INSERT INTO adapter_shard (iid, model, cid, shard) VALUES (:iid, :model, :cid, :shard)
ON CONFLICT (iid, model) DO UPDATE SET cid = excluded.cid, shard = excluded.shard

-- name: next_version
SELECT coalesce(max(version), 0) + 1 FROM adapter
WHERE cid = :cid AND model = :model AND shard = :shard

-- name: add_artifact
INSERT INTO artifact (tenant, kind, key, identity, tokens, bytes, build_seconds, sha256, created)
VALUES (:tenant, 'parametric', :key, '', 0, 0, 0, '', :created) RETURNING aid

-- name: add
INSERT INTO adapter (id, tenant, cid, model, shard, version, state, aid, facts, rebuild, recipe, created)
VALUES (:id, :tenant, :cid, :model, :shard, :version, 'candidate', :aid, :facts, :rebuild, :recipe, :created)

-- name: set_task
UPDATE adapter SET task = :task WHERE id = :id

-- name: fill
-- The bytes, named before they are written, so that an erase in between knows of them.
UPDATE artifact SET identity = :base, bytes = :bytes, build_seconds = max(build_seconds, :seconds), sha256 = :sha256
WHERE aid = (SELECT aid FROM adapter WHERE id = :id) AND withdrawn IS NULL

-- name: note_file
INSERT OR IGNORE INTO meta (key, value) VALUES ('wiping:' || :sha256, x'')

-- name: noted_files
SELECT substr(key, 8) FROM meta WHERE key GLOB 'wiping:*' ORDER BY key

-- name: drop_note
DELETE FROM meta WHERE key = 'wiping:' || :sha256

-- name: spend
UPDATE artifact SET build_seconds = max(build_seconds, :seconds)
WHERE aid = (SELECT aid FROM adapter WHERE id = :id)

-- name: spent
SELECT a.build_seconds FROM adapter d JOIN artifact a ON a.aid = d.aid WHERE d.id = :id

-- name: orderer
SELECT tenant, actor, result FROM idempotency WHERE key = :key

-- name: hand_over
UPDATE idempotency SET key = :new WHERE key = :old

-- name: drop_order
DELETE FROM idempotency WHERE key = :key

-- name: settle
UPDATE adapter SET state = :state, figures = :figures, data = :data, why = :why
WHERE id = :id AND state = 'candidate'

-- name: end
UPDATE adapter SET state = 'withdrawn', rebuild = 0, why = :why
WHERE id = :id AND state IN ('candidate', 'published', 'stale')

-- name: older
-- Earlier versions of the same shard that still stand, and candidates nobody waits for.
SELECT o.id FROM adapter d JOIN adapter o ON o.cid = d.cid AND o.model = d.model
    AND o.shard = d.shard AND o.version < d.version
WHERE d.id = :id AND o.state IN ('candidate', 'published', 'stale')

-- name: row
SELECT d.id, d.tenant, d.cid, c.path, d.model, d.shard, d.version, d.state, a.key, a.sha256, a.identity,
    coalesce(a.bytes, 0), d.facts, d.rebuild, d.task, d.recipe, d.figures, d.created, d.why
FROM adapter d JOIN cube c ON c.cid = d.cid LEFT JOIN artifact a ON a.aid = d.aid
WHERE d.id = :id

-- name: of_cubes
SELECT d.id, d.tenant, d.cid, c.path, d.model, d.shard, d.version, d.state, a.key, a.sha256, a.identity,
    coalesce(a.bytes, 0), d.facts, d.rebuild, d.task, d.recipe, d.figures, d.created, d.why
FROM adapter d JOIN cube c ON c.cid = d.cid LEFT JOIN artifact a ON a.aid = d.aid
WHERE d.cid IN (SELECT value FROM json_each(:cids)) AND (:model IS NULL OR d.model = :model)
ORDER BY c.path, d.model, d.shard, d.version

-- name: usable
SELECT d.id, d.tenant, d.cid, c.path, d.model, d.shard, d.version, d.state, a.key, a.sha256, a.identity,
    a.bytes, d.facts, d.rebuild, d.task, d.recipe, d.figures, d.created, d.why
FROM adapter d JOIN cube c ON c.cid = d.cid JOIN artifact a ON a.aid = d.aid
WHERE d.tenant = :tenant AND d.state = 'published' AND a.withdrawn IS NULL
    AND (:model IS NULL OR d.model = :model) AND (:id IS NULL OR d.id = :id)
    AND (:items IS NULL OR EXISTS (SELECT 1 FROM artifact_source s WHERE s.aid = a.aid
        AND s.iid IN (SELECT value FROM json_each(:items))))
    AND d.facts = (SELECT count(*) FROM artifact_source s WHERE s.aid = a.aid)
    AND NOT EXISTS (SELECT 1 FROM artifact_source s WHERE s.aid = a.aid AND NOT EXISTS (READABLE))
ORDER BY c.path, d.model, d.shard, d.version

-- name: readable
SELECT 1 FROM version v JOIN gate g ON g.cid = v.cid JOIN item i ON i.iid = v.iid
WHERE v.iid = s.iid AND v.seq_to > :seq AND v.seq <= :seq AND v.tid = s.tid

-- name: sources
SELECT i.id, s.version FROM adapter d JOIN artifact_source s ON s.aid = d.aid
JOIN item i ON i.iid = s.iid WHERE d.id = :id ORDER BY i.id

-- name: sources_of_usable
SELECT d.id, s.iid FROM adapter d JOIN artifact_source s ON s.aid = d.aid
WHERE d.id IN (SELECT value FROM json_each(:ids))

-- name: standing
SELECT count(*) FROM adapter d JOIN artifact a ON a.aid = d.aid
WHERE d.id = :id AND d.state = 'candidate' AND a.withdrawn IS NULL

-- name: to_tend
SELECT 1 FROM artifact WHERE withdrawn IS NOT NULL AND kind = 'parametric'
UNION ALL SELECT 1 FROM meta WHERE key GLOB 'wiping:*'
UNION ALL SELECT 1 FROM adapter WHERE rebuild AND state IN ('stale', 'withdrawn')
UNION ALL SELECT 1 FROM adapter d LEFT JOIN task t ON t.id = d.task
    WHERE d.state = 'candidate' AND (t.id IS NULL OR t.state IN ('failed', 'cancelled')) LIMIT 1

-- name: given_up
SELECT d.id, coalesce(t.error, 'the task was cancelled') FROM adapter d LEFT JOIN task t ON t.id = d.task
WHERE d.state = 'candidate' AND (t.id IS NULL OR t.state IN ('failed', 'cancelled'))

-- name: to_rebuild
-- Shards whose newest version was to be made anew and no longer stands.
SELECT d.id, d.tenant, d.cid, d.model, d.shard, d.recipe FROM adapter d
WHERE d.rebuild AND d.state IN ('stale', 'withdrawn')
    AND d.model IN (SELECT value FROM json_each(:models)) AND NOT EXISTS (
    SELECT 1 FROM adapter n WHERE n.cid = d.cid AND n.model = d.model AND n.shard = d.shard
    AND n.version > d.version)
ORDER BY d.adid

-- name: rebuilt
UPDATE adapter SET rebuild = 0 WHERE rebuild AND state IN ('stale', 'withdrawn')
    AND model IN (SELECT value FROM json_each(:models))

-- name: bytes_held
SELECT coalesce(sum(bytes), 0) FROM artifact WHERE kind = 'parametric'

-- name: withdrawn
SELECT aid, sha256 FROM artifact WHERE withdrawn IS NOT NULL AND kind = 'parametric'

-- name: artifact_of
SELECT a.aid, a.sha256 FROM adapter d JOIN artifact a ON a.aid = d.aid WHERE d.id = :id

-- name: open_folders
SELECT id FROM adapter WHERE state = 'candidate'

-- name: learnt
-- By the same order, whoever gave it.
SELECT s.iid, s.tid FROM adapter d JOIN artifact a ON a.aid = d.aid JOIN artifact_source s ON s.aid = a.aid
WHERE d.cid = :cid AND d.model = :model AND d.shard = :shard AND json_remove(d.recipe, '$.ordered') = json_remove(:recipe, '$.ordered')
    AND d.state IN ('published', 'candidate') AND a.withdrawn IS NULL
    AND d.version = (SELECT max(n.version) FROM adapter n
        WHERE n.cid = d.cid AND n.model = d.model AND n.shard = d.shard)

-- name: published_keys
SELECT a.key FROM adapter d JOIN artifact a ON a.aid = d.aid
WHERE d.state = 'published' AND a.withdrawn IS NULL

-- name: drawn_from
SELECT iid, drawn_from FROM item WHERE drawn_from IS NOT NULL
    AND iid IN (SELECT value FROM json_each(:items))
