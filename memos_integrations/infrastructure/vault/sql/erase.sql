-- What an erase removes, in this order. :items is a JSON array of item rows.

-- name: vectors
DELETE FROM embedding
WHERE tid IN (SELECT tid FROM version WHERE iid IN (SELECT value FROM json_each(:items)))

-- name: part_vectors
DELETE FROM part_vector
WHERE tid IN (SELECT tid FROM version WHERE iid IN (SELECT value FROM json_each(:items)))

-- name: contents
DELETE FROM main.content
WHERE tid IN (SELECT tid FROM version WHERE iid IN (SELECT value FROM json_each(:items)))

-- name: versions
DELETE FROM version WHERE iid IN (SELECT value FROM json_each(:items))

-- name: links
DELETE FROM edge
WHERE source IN (SELECT value FROM json_each(:items))
   OR target IN (SELECT value FROM json_each(:items))

-- name: grants
DELETE FROM access WHERE iid IN (SELECT value FROM json_each(:items))

-- name: spoken_times
DELETE FROM spoken_time WHERE iid IN (SELECT value FROM json_each(:items))

-- name: facts
DELETE FROM fact WHERE iid IN (
    SELECT value FROM json_each(:items)
    UNION ALL SELECT iid FROM item WHERE drawn_from IN (SELECT value FROM json_each(:items)))

-- name: kept_facts
-- One under a legal hold stays when its source goes, as a memory of its own.
UPDATE item SET drawn_from = NULL WHERE drawn_from IN (SELECT value FROM json_each(:items))

-- name: sketches
DELETE FROM sketch WHERE iid IN (SELECT value FROM json_each(:items))

-- name: mentions
DELETE FROM mention WHERE iid IN (SELECT value FROM json_each(:items))

-- name: tool_calls
DELETE FROM tool_call WHERE iid IN (SELECT value FROM json_each(:items))

-- name: entries
DELETE FROM entry WHERE iid IN (SELECT value FROM json_each(:items))

-- name: usage
DELETE FROM usage WHERE iid IN (SELECT value FROM json_each(:items))

-- name: heats
DELETE FROM heat WHERE iid IN (SELECT value FROM json_each(:items))

-- name: blob_uses
DELETE FROM blob_use WHERE iid IN (SELECT value FROM json_each(:items))

-- name: items
DELETE FROM item WHERE iid IN (SELECT value FROM json_each(:items))
