\set i random(1, 10000)
SELECT email FROM bench_rows WHERE id = :i;
