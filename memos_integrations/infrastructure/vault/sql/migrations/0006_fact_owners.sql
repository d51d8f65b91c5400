-- Whose facts a cube holds, found in as many steps as there are owners: the key of a slot names one.
CREATE INDEX item_fact_owner ON item (cid, owner) WHERE drawn_from IS NOT NULL;
