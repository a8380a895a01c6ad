# Sourced by the benches lists and identity: a throwaway cluster, medians.
# shellcheck shell=bash

# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
rounds=${BENCH_ROUNDS:-5}
seconds=${BENCH_SECONDS:-3}

median()
{
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

cleanup()
{
	if [ -e "$work/cluster/data/postmaster.pid" ]; then cluster stop; fi
	cd /
	rm -rf "$work"
}

# start_bench: a cluster with Keystone, and with the settings on standard input
start_bench()
{
	need_server
	install_packages
	find_server
	make_work_dir "$(mktemp -d "${TMPDIR:-/tmp}/keystone-bench.XXXXXX")"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	copy_tree
	bench=$work/tree/test/bench
	install_build bench
	make_cluster
	as_postgres tee -a "$work/cluster/data/postgresql.conf" > /dev/null
	cluster start
	connect_to_cluster
	psql=("$bindir/psql" -XAtq -v ON_ERROR_STOP=1 -d postgres)
	as_postgres "${psql[@]}" -c 'CREATE EXTENSION keystone'
}

# latency FILE ROLE MODE: milliseconds for a transaction over one connection
latency()
{
	as_postgres "$bindir/pgbench" -n -c 1 -M "$3" -T "$seconds" -f "$1" -U "$2" postgres 2> /dev/null |
		awk '/^latency average/ { print $4 }'
}
