-- Forms of cubes: what was decided for each hosted model, what there is, and what it cost.

-- name: asks
SELECT cid, score, at FROM cube_heat

-- name: heat_of
SELECT score, at FROM cube_heat WHERE cid = :cid

-- name: warm
INSERT INTO cube_heat (cid, score, at)
SELECT :cid, :score, :at WHERE EXISTS (SELECT 1 FROM cube WHERE cid = :cid)
ON CONFLICT (cid) DO UPDATE SET score = excluded.score, at = excluded.at

-- name: decided
SELECT cid, model, form, decided, moved, failures, key FROM cube_form
WHERE model IN (SELECT value FROM json_each(:models)) ORDER BY cid, model, form

-- name: decide
INSERT INTO cube_form (cid, model, form, decided, moved)
VALUES (:cid, :model, :form, :decided, :moved)
ON CONFLICT (cid, model, form) DO UPDATE SET decided = excluded.decided, moved = excluded.moved

-- name: built
UPDATE cube_form SET key = :key, failures = CASE WHEN :kept THEN 0 ELSE failures + 1 END,
    moved = CASE WHEN :kept THEN moved ELSE :now END
WHERE cid = :cid AND model = :model AND form = :form

-- name: key_of
SELECT key FROM cube_form WHERE cid = :cid AND model = :model AND form = 'activation'

-- name: waiting
SELECT DISTINCT cid, kind FROM task WHERE state IN ('waiting', 'running')
    AND kind IN (SELECT value FROM json_each(:kinds)) AND cid IS NOT NULL

-- name: caches
-- What the caches that were decided on are made of, as far as they serve.
SELECT f.cid, f.model, a.identity, a.bytes, a.created, s.iid FROM cube_form f
JOIN artifact a ON a.key = f.key AND a.kind = 'activation' AND a.withdrawn IS NULL
JOIN artifact_source s ON s.aid = a.aid
WHERE f.form = 'activation' AND f.model IN (SELECT value FROM json_each(:models))

-- name: adapters
-- A fact that was learnt stands for the memory that it restates.
SELECT d.cid, d.model, a.identity, d.shard, a.bytes, a.created, coalesce(i.drawn_from, s.iid)
FROM adapter d
JOIN artifact a ON a.aid = d.aid AND a.withdrawn IS NULL
JOIN artifact_source s ON s.aid = a.aid JOIN item i ON i.iid = s.iid
WHERE d.state = 'published' AND d.model IN (SELECT value FROM json_each(:models))

-- name: discarded
-- Shards that were trained to nothing since they last were published: (cube, model, times, when).
SELECT cid, model, max(times), max(newest) FROM (
    SELECT d.cid, d.model, count(*) AS times, max(d.created) AS newest FROM adapter d
    WHERE d.state = 'discarded' AND d.model IN (SELECT value FROM json_each(:models))
        AND d.version > coalesce((SELECT max(p.version) FROM adapter p WHERE p.cid = d.cid
            AND p.model = d.model AND p.shard = d.shard AND p.state <> 'discarded'), 0)
    GROUP BY d.cid, d.model, d.shard)
GROUP BY cid, model

-- name: cache_costs
-- Of a model's newest caches: seconds and bytes in sum, and the bytes of the words they hold.
SELECT count(*), coalesce(sum(seconds), 0), coalesce(sum(bytes), 0), coalesce(sum(words), 0) FROM (
    SELECT a.build_seconds AS seconds, a.bytes AS bytes,
        (SELECT sum((length(CAST(t.text AS BLOB)) + 3) / 4) FROM artifact_source s
         JOIN content t ON t.tid = s.tid WHERE s.aid = a.aid) AS words
    FROM artifact a WHERE a.kind = 'activation' AND a.identity = :identity
    ORDER BY a.aid DESC LIMIT 50)
WHERE words > 0

-- name: adapter_costs
-- Of a model's newest trainings: how many, their seconds and facts; bytes of one that has any.
SELECT count(*), coalesce(sum(json_extract(figures, '$.seconds')), 0), coalesce(sum(facts), 0),
    coalesce(avg(bytes), 0) FROM (
    SELECT d.figures, d.facts, nullif(a.bytes, 0) AS bytes FROM adapter d
    LEFT JOIN artifact a ON a.aid = d.aid
    WHERE d.model = :model AND d.figures IS NOT NULL ORDER BY d.adid DESC LIMIT 20)

-- name: bytes_by_form
-- Of what was made of memories of these cubes alone, by form: how many, and their bytes.
SELECT a.kind, count(*), sum(a.bytes) FROM artifact a
WHERE a.withdrawn IS NULL AND a.bytes > 0
    AND EXISTS (SELECT 1 FROM artifact_source s WHERE s.aid = a.aid)
    AND NOT EXISTS (SELECT 1 FROM artifact_source s WHERE s.aid = a.aid AND NOT EXISTS (
        SELECT 1 FROM version v WHERE v.iid = s.iid AND v.seq_to = 9223372036854775807
        AND v.cid IN (SELECT value FROM json_each(:cids))))
GROUP BY a.kind
