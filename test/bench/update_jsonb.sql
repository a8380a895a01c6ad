\set i random(1, 10000)
UPDATE bench_jsonb SET amount = amount + 1, changed_at = now() WHERE id = :i;
