\set i random(1, 10000)
UPDATE bench_audited SET amount = amount + 1, changed_at = now() WHERE id = :i;
