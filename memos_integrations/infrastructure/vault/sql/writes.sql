-- The write side of a transaction. Every value is bound.

-- name: head
SELECT seq, at FROM outbox ORDER BY seq DESC LIMIT 1

-- name: outbox
INSERT INTO outbox (seq, at, cid, iid, version, kind) VALUES (?, ?, ?, ?, ?, ?)

-- name: cube
SELECT cid, tenant, path, owner, visibility, embedding, created, fork_of, fork_seq, info
FROM cube WHERE tenant = ? AND path = ?

-- name: new_cube
INSERT INTO cube (tenant, path, owner, visibility, created, fork_of, fork_seq, info)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: item
INSERT INTO item (
    iid, id, cid, created, owner, visibility, labels, trust, expires, fork_origin, drawn_from)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: content
INSERT INTO main.content (tid, cid, iid, fold, text, data, spans) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: version
INSERT INTO version (
    seq, iid, cid, version, recorded, tid, state, before, kind, memory_type, time, valid_from,
    valid_to, role, speaker, conversation, agent, origin, source, model, tags, info, provenance,
    blobs, priority, confidence, storage_mode, stale, merged_into, actor, reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: close_version
UPDATE version SET seq_to = ? WHERE iid = ? AND version = ?

-- name: edge
INSERT OR IGNORE INTO edge (source, relation, target, target_version, seq_from)
SELECT ?1, ?2, ?3, ?4, ?5
WHERE NOT EXISTS (
    SELECT 1 FROM edge
    WHERE source = ?1 AND relation = ?2 AND target = ?3 AND seq_to = 9223372036854775807)

-- name: close_edge
UPDATE edge SET seq_to = ?
WHERE source = ? AND relation = ? AND target = ? AND seq_to = 9223372036854775807

-- name: denied
SELECT 1 FROM access
WHERE tenant = ? AND subject_kind = ? AND subject = ? AND effect = 'deny' LIMIT 1

-- name: grant
INSERT INTO access (
    tenant, scope, iid, subject_kind, subject, permissions, effect, expires, granted_by, created)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: revoke
DELETE FROM access
WHERE tenant = ? AND scope = ? AND iid IS ? AND subject_kind = ? AND subject = ? AND effect = ?

-- name: copy_denials
INSERT INTO access (
    tenant, scope, iid, subject_kind, subject, permissions, effect, expires, granted_by, created)
SELECT a.tenant, c.path, i.iid, a.subject_kind, a.subject, a.permissions, a.effect, a.expires,
       a.granted_by, a.created
FROM access a JOIN item i ON i.iid = :new JOIN cube c ON c.cid = i.cid AND c.tenant = a.tenant
WHERE a.iid = :old AND a.effect = 'deny' AND (a.subject_kind, a.subject) NOT IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:own))

-- name: rule
SELECT permissions, expires FROM access
WHERE tenant = ? AND scope = ? AND iid IS ? AND subject_kind = ? AND subject = ? AND effect = ?
  AND (expires IS NULL OR expires > ?)

-- name: once
SELECT request, result FROM idempotency WHERE tenant = ? AND actor = ? AND key = ?

-- name: remember
INSERT INTO idempotency (tenant, actor, key, request, result, created) VALUES (?, ?, ?, ?, ?, ?)

-- name: embedding
INSERT INTO embedding (tid, cid, model, vec) VALUES (?, ?, ?, ?)
ON CONFLICT (tid) DO UPDATE SET model = excluded.model, vec = excluded.vec

-- name: part_vector
INSERT INTO part_vector (tid, part, cid, model, vec) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tid, part) DO UPDATE SET model = excluded.model, vec = excluded.vec

-- name: usage
INSERT INTO usage (iid, count, last)
SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM item WHERE iid = ?1)
ON CONFLICT (iid) DO UPDATE SET count = count + excluded.count, last = max(last, excluded.last)
