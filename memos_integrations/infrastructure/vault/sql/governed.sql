-- Who may see or do what, decided inside the query. The readable form of the same decision is
-- memos_integrations.cube.acl.permissions; a property test holds the two together.
-- Bound: :tenant :name :admin :subjects :clearances :now :need :cubes :seq

-- name: rules
rules AS MATERIALIZED (
    SELECT scope, iid, permissions, effect FROM access
    WHERE tenant = :tenant AND (expires IS NULL OR expires > :now)
      AND (subject_kind, subject) IN (
          SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]')
          FROM json_each(:subjects))
)

-- name: gate
gate AS MATERIALIZED (
    SELECT cid, path, tenant, owner, home, master, denied,
           (master OR granted OR seen) AS allowed
    FROM (
        SELECT c.cid, c.path, c.tenant, c.owner,
               c.tenant = :tenant AS home,
               (c.tenant = :tenant AND (c.owner = :name OR :admin)) AS master,
               (c.tenant = :tenant AND EXISTS (
                   SELECT 1 FROM rules r
                   WHERE r.iid IS NULL AND r.effect = 'allow' AND (r.permissions & :need)
                     AND (r.scope = c.path
                          OR substr(c.path, 1, length(r.scope) + 1) = r.scope || '/'))) AS granted,
               (c.tenant = :tenant AND EXISTS (
                   SELECT 1 FROM rules r
                   WHERE r.iid IS NULL AND r.effect = 'deny' AND (r.permissions & :need)
                     AND (r.scope = c.path
                          OR substr(c.path, 1, length(r.scope) + 1) = r.scope || '/'))) AS denied,
               (:need = 1 AND (c.visibility = 'public'
                   OR (c.visibility = 'tenant' AND c.tenant = :tenant))) AS seen
        FROM cube c
        WHERE :cubes IS NULL OR c.cid IN (SELECT value FROM json_each(:cubes))
    )
)

-- name: item_allowed
(
    g.denied = 0
    AND NOT EXISTS (
        SELECT 1 FROM rules r
        WHERE r.iid IN (i.iid, i.drawn_from) AND r.effect = 'deny' AND (r.permissions & :need))
    AND (
        (g.allowed AND (i.visibility <> 'private' OR g.master
                        OR (g.home AND i.owner = :name)))
        OR EXISTS (
            SELECT 1 FROM rules r
            WHERE r.iid = i.iid AND r.effect = 'allow' AND (r.permissions & :need))
        OR (:need = 1 AND (i.visibility = 'public' OR (i.visibility = 'tenant' AND g.home))))
    AND (
        i.labels IS NULL OR g.master OR (g.home AND i.owner = :name)
        OR NOT EXISTS (
            SELECT 1 FROM json_each(i.labels)
            WHERE value NOT IN (SELECT value FROM json_each(:clearances))))
)

-- name: gate_unruled
-- As gate, for a principal whom no rule names: the caller has read that from the same snapshot.
-- A property test holds this and item_allowed_unruled together with the two above.
gate AS MATERIALIZED (
    SELECT cid, path, tenant, owner, home, master, 0 AS denied, (master OR seen) AS allowed
    FROM (
        SELECT c.cid, c.path, c.tenant, c.owner,
               c.tenant = :tenant AS home,
               (c.tenant = :tenant AND (c.owner = :name OR :admin)) AS master,
               (:need = 1 AND (c.visibility = 'public'
                   OR (c.visibility = 'tenant' AND c.tenant = :tenant))) AS seen
        FROM cube c
        WHERE :cubes IS NULL OR c.cid IN (SELECT value FROM json_each(:cubes))
    )
)

-- name: item_allowed_unruled
(
    ((g.allowed AND (i.visibility <> 'private' OR g.master
                     OR (g.home AND i.owner = :name)))
     OR (:need = 1 AND (i.visibility = 'public' OR (i.visibility = 'tenant' AND g.home))))
    AND (
        i.labels IS NULL OR g.master OR (g.home AND i.owner = :name)
        OR NOT EXISTS (
            SELECT 1 FROM json_each(i.labels)
            WHERE value NOT IN (SELECT value FROM json_each(:clearances))))
)

-- name: joined
FROM gate g
JOIN version v ON v.cid = g.cid AND v.seq_to > :seq AND v.seq <= :seq
JOIN item i ON i.iid = v.iid
LEFT JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid

-- name: joined_items
-- CROSS JOIN fixes the order: a few items named by the caller, never a scan of their cube.
FROM json_each(:iids) w
CROSS JOIN version v ON v.iid = w.value AND v.seq_to > :seq AND v.seq <= :seq
CROSS JOIN gate g ON g.cid = +v.cid
CROSS JOIN item i ON i.iid = v.iid
LEFT JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid

-- name: joined_history
FROM version v
JOIN gate g ON g.cid = v.cid
JOIN item i ON i.iid = v.iid AND v.iid = :iid AND v.seq <= :upto
LEFT JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid

-- name: present
(i.expires IS NULL OR i.expires > :now OR i.legal_hold)

-- name: kept
(v.tid IS NOT NULL AND v.state <> 'merged' AND (i.expires IS NULL OR i.expires > :now OR i.legal_hold))

-- name: told
(i.drawn_from IS NULL AND v.tid IS NOT NULL AND v.state <> 'merged' AND (i.expires IS NULL OR i.expires > :now OR i.legal_hold))

-- name: due
(i.expires IS NOT NULL AND i.expires <= :now AND NOT i.legal_hold AND v.tid IS NOT NULL
    AND v.state <> 'frozen')

-- name: searchable
(
    v.state IN ('generated', 'activated', 'frozen') AND v.stale = 0 AND v.tid IS NOT NULL
    AND i.quarantined = 0 AND (i.expires IS NULL OR i.expires > :now OR i.legal_hold)
    AND (v.valid_to IS NULL OR v.valid_to > :valid_at)
    AND (:valid_from_too = 0 OR v.valid_from <= :valid_at)
)

-- name: item_columns
i.iid, i.id, i.created, i.owner, i.visibility, i.labels, i.trust, i.expires, i.legal_hold,
i.quarantined, g.path, g.master, g.home, g.tenant,
v.seq, v.seq_to, v.cid, v.version, v.recorded, v.tid, v.state, v.before, v.kind, v.memory_type,
v.time, v.valid_from, v.valid_to, v.role, v.speaker, v.conversation, v.agent, v.origin, v.source,
v.model, v.tags, v.info, v.provenance, v.blobs, v.priority, v.confidence, v.storage_mode,
v.stale, v.merged_into, v.actor, v.reason,
t.text, t.data, t.spans, coalesce(u.count, 0), u.last,
(SELECT model FROM embedding e WHERE e.tid = v.tid),
(SELECT id FROM item m WHERE m.iid = v.merged_into)
