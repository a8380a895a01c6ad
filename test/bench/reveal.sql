\set i random(1, 1000)
SELECT keystone.reveal('bench', 'credential ' || :i);
