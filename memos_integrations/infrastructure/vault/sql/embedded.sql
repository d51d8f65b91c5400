-- Texts that came with their vectors, by the key they were put under. :keys is a JSON array.

-- name: named
SELECT i.iid, i.id FROM version v JOIN item i ON i.iid = v.iid
WHERE v.cid = :cid AND v.seq_to > :present AND v.memory_type = 'document' AND v.tid IS NOT NULL
  AND json_extract(v.info, '$.embedded') IN (SELECT value FROM json_each(:keys))

-- name: claim
UPDATE cube SET embedding = :mark WHERE cid = :cid

-- name: vector
SELECT vec FROM embedding WHERE tid = :tid
