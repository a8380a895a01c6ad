# Sourced by the scripts under test/: where the server is, throwaway clusters,
# and the stages that "make check" and "make devcheck" have in common.
# shellcheck shell=bash
#
# Servers and tests run as the system user postgres when the caller is root,
# else as the caller.  They get a copy of the tree, because they may not be
# able to read the original.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The caller's settings for psql and libpq are none of the tests' business.
for variable in ${!PG*}; do
	if [ "$variable" != PG_CONFIG ]; then unset "$variable"; fi
done
export LC_ALL=C.UTF-8 TZ=UTC

die()
{
	echo "$0: $*" >&2
	exit 1
}

as_postgres()
{
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

# Debian packages that are missing.
packages=()

# need THING PACKAGE: a program, a file or a Perl module, and what brings it
need()
{
	case $1 in
		/*) if [ -e "$1" ]; then return; fi ;;
		*::*) if perl -M"$1" -e 1 2> /dev/null; then return; fi ;;
		*) if command -v "$1" > /dev/null; then return; fi ;;
	esac
	packages+=("$2")
}

# What it takes to build Keystone and to run a server.
need_server()
{
	local version
	need make make
	need gcc gcc
	need /usr/include/stdio.h libc6-dev
	need openssl openssl
	need /usr/include/openssl/evp.h libssl-dev
	if [ -z "${PG_CONFIG:-}" ]; then
		version=$(newest_server)
		version=${version:-$(default_server)}
		need "/usr/lib/postgresql/$version/bin/postgres" "postgresql-$version"
		need "/usr/lib/postgresql/$version/lib/pgxs/src/makefiles/pgxs.mk" "postgresql-server-dev-$version"
	fi
}

# What it takes to test it.
need_test_tools()
{
	local version
	need ps procps
	need pgbouncer pgbouncer
	need softhsm2-util softhsm2
	need pkcs11-tool opensc
	need python3 python3
	need /usr/share/zoneinfo/UTC tzdata
	need IPC::Run libipc-run-perl
	need TAP::Parser::SourceHandler::pgTAP libtap-parser-sourcehandler-pgtap-perl
	if [ -z "${PG_CONFIG:-}" ]; then
		version=$(newest_server)
		version=${version:-$(default_server)}
		need "/usr/share/postgresql/$version/extension/pgtap.control" "postgresql-$version-pgtap"
	fi
}

# Installs what is missing: as root on Debian.
install_packages()
{
	[ ${#packages[@]} -gt 0 ] || return 0

	if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
		die "these packages are missing: ${packages[*]}"
	fi
	echo "# installing ${packages[*]}"
	apt_install || { apt-get update -qq && apt_install; } || die "could not install packages"
}

# Packages of servers start them, and PostgreSQL's makes a cluster as well;
# nobody asked for that.  policy-rc.d is how Debian is told so.
apt_install()
{
	local before status=0 policy=
	before=$(echo /etc/postgresql/*/main)
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' > "$policy"
		chmod +x "$policy"
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 "${packages[@]}" < /dev/null > /dev/null || status=$?
	if [ -n "$policy" ]; then rm -f "$policy"; fi
	[ "$status" = 0 ] || return "$status"
	for cluster in /etc/postgresql/*/main; do
		if [ -e "$cluster" ] && [[ " $before " != *" $cluster "* ]]; then
			pg_dropcluster --stop "$(basename "$(dirname "$cluster")")" main
		fi
	done
}

newest_server()
{
	printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -V |
		sed -n 's,^/usr/lib/postgresql/\([0-9]*\)/.*,\1,p' | tail -n 1
}

# The version that the distribution's package "postgresql" stands for.
default_server()
{
	apt-cache show postgresql > /dev/null 2>&1 || apt-get update -qq
	apt-cache show postgresql | sed -n 's/^Version: \([0-9]*\)+.*/\1/p' | head -n 1
}

# Finds the server.  Without PG_CONFIG it is the newest that is installed.
find_server()
{
	if [ -z "${PG_CONFIG:-}" ]; then
		PG_CONFIG=/usr/lib/postgresql/$(newest_server)/bin/pg_config
		if [ ! -x "$PG_CONFIG" ]; then PG_CONFIG=$(command -v pg_config) || die "no pg_config"; fi
	fi
	export PG_CONFIG
	bindir=$("$PG_CONFIG" --bindir)
	pgxs=$(dirname "$(dirname "$(dirname "$("$PG_CONFIG" --pgxs)")")")
	export PATH=$bindir:$PATH
}

# make_work_dir DIR: everything below happens in there.  Sets work.
make_work_dir()
{
	work=$1
	mkdir -p "$work"
	if [ "$(id -u)" = 0 ]; then chown postgres: "$work"; fi
	chmod 755 "$work"
	export HOME=$work
	cd "$work" || exit 1
}

# Copies the source tree, without what a build inside it has left.
copy_tree()
{
	rm -rf "$work/tree"
	as_postgres mkdir "$work/tree"
	tar -C "$top" --exclude=./.git --exclude=./build --exclude='*.o' --exclude='*.so' \
		--exclude='./sql/keystone--*' -cf - . | as_postgres tar -C "$work/tree" --no-same-owner -xf -
}

# build NAME [ARGUMENT...]: builds the copy in a directory of its own.
build()
{
	local dir=$work/build-$1
	shift
	as_postgres mkdir -p "$dir"
	as_postgres make --no-print-directory -s -C "$dir" -f "$work/tree/Makefile" -j "$(nproc)" \
		PG_CONFIG="$PG_CONFIG" "$@"
}

# build_frontend OUT COMPILER [FLAG|FILE]...: a program from the rooms that
# need no server
build_frontend()
{
	local out=$1 compiler=$2 room rooms=()
	shift 2
	for room in mem crypto window siphash jws wire dotenv error merkle action entry note bundlewire cedar_ast cedar_lex cedar_text cedar_print glob; do
		rooms+=("$work/tree/src/ks_$room.c")
	done
	as_postgres "$compiler" -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes \
		-Wmissing-prototypes -Wvla -Wformat=2 -Werror -DKS_FRONTEND -I"$work/tree/src" \
		-o "$out" "$@" "${rooms[@]}" -lcrypto
}

# Installs a build below $work/root and writes the settings that make a server
# find it there: extension_control_path since version 18; Debian's servers have
# had extension_destdir before.
install_build()
{
	local lib share
	build "$@" install DESTDIR="$work/root" > /dev/null || return
	lib=$("$PG_CONFIG" --pkglibdir)
	share=$("$PG_CONFIG" --sharedir)
	{
		echo "dynamic_library_path = '$work/root$lib:\$libdir'"
		if grep -q '^#extension_destdir' "$share/postgresql.conf.sample"; then
			echo "extension_destdir = '$work/root'"
		else
			echo "extension_control_path = '$work/root$share:\$system'"
		fi
	} | as_postgres tee "$work/extension.conf" > /dev/null
}

# make_cluster: a cluster in $work/cluster that listens on a socket there.  It
# trusts who can reach the socket: nobody else may enter the directory.
make_cluster()
{
	local dir=$work/cluster
	as_postgres mkdir -m 700 "$dir"
	as_postgres "$bindir/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 \
		--locale=C.UTF-8 --no-sync > "$work/initdb.log" || return
	(
		umask 077
		printf 'root-1 %s\n' "$(openssl rand -hex 32)" | as_postgres tee "$dir/root_keys" > /dev/null
	)
	as_postgres chmod 600 "$dir/root_keys"
	as_postgres tee -a "$dir/data/postgresql.conf" > /dev/null <<-EOF
		include '$work/extension.conf'
		shared_preload_libraries = 'keystone'
		keystone.root_key_file = '$dir/root_keys'
		keystone.auth_failures_per_minute = 10000
		max_worker_processes = 40
		listen_addresses = ''
		unix_socket_directories = '$dir'
		port = 54320
		fsync = off
		log_line_prefix = '%m [%p] %b %q%a '
	EOF
	as_postgres touch "$dir/log"
}

connect_to_cluster()
{
	export PGHOST=$work/cluster PGPORT=54320 PGUSER=postgres
}

# cluster start|restart|stop
cluster()
{
	if ! as_postgres "$bindir/pg_ctl" -D "$work/cluster/data" -l "$work/cluster/log" -w -t 60 \
		-m fast -s "$1"; then
		tail -n 30 "$work/cluster/log" >&2
		return 1
	fi
}

# Results: each stage adds to them.
passed=0 failed=0 skipped=0

# add NAME PASSED FAILED SKIPPED
add()
{
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
	echo "# $1: $2 passed, $3 failed, $4 skipped"
}

# pg_regress_stage NAME PROGRAM INPUT_DIRECTORY TEST...
pg_regress_stage()
{
	local name=$1 program=$2 input=$3 out=$work/$1 ok bad
	shift 3
	as_postgres mkdir -p "$out"
	rm -f "$out/regression.diffs"
	as_postgres "$program" --bindir="$bindir" --inputdir="$input" --outputdir="$out" \
		--dbname="keystone_$name" --load-extension=keystone "$@" < /dev/null > "$out/output" 2>&1
	# "test x ... ok" until version 15, "ok 1 - x" since 16.
	ok=$(grep -cE '^(test .* \.\.\. ok|ok )' "$out/output")
	bad=$(($# - ok))
	if [ "$bad" -gt 0 ]; then
		cat "$out/output" "$out/regression.diffs" 2> /dev/null
		echo
	fi
	add "$name" "$ok" "$bad" 0
}

# names SUFFIX FILE...: their names without directory and suffix
names()
{
	local suffix=$1 file
	shift
	for file in "$@"; do
		if [ -e "$file" ]; then basename "$file" "$suffix"; fi
	done
}

regress_stage()
{
	local tests
	mapfile -t tests < <(names .sql "$work"/tree/sql/*.sql)
	[ ${#tests[@]} -gt 0 ] || return 0
	pg_regress_stage regress "$pgxs/src/test/regress/pg_regress" "$work/tree" "${tests[@]}"
}

isolation_stage()
{
	local tests
	mapfile -t tests < <(names .spec "$work"/tree/test/isolation/specs/*.spec)
	[ ${#tests[@]} -gt 0 ] || return 0
	pg_regress_stage isolation "$pgxs/src/test/isolation/pg_isolation_regress" \
		"$work/tree/test/isolation" "${tests[@]}"
}

# harness_stage NAME OPTION... FILE...: runs what prints TAP (see test/harness)
harness_stage()
{
	local name=$1 counts
	shift
	as_postgres mkdir -p "$work/$name"
	as_postgres "$work/tree/test/harness" --counts "$work/$name/counts" "$@"
	if read -r -a counts < "$work/$name/counts"; then
		add "$name" "${counts[@]}"
	else
		add "$name" 0 1 0
	fi
}

pgtap_stage()
{
	local files=("$work"/tree/test/pgtap/*.sql) psql=("$bindir/psql" -XAtqv ON_ERROR_STOP=1)
	[ -e "${files[0]}" ] || return 0
	if as_postgres "${psql[@]}" -d postgres -c 'SET client_min_messages = warning' \
		-c 'DROP DATABASE IF EXISTS keystone_pgtap WITH (FORCE)' -c 'CREATE DATABASE keystone_pgtap' &&
		as_postgres "${psql[@]}" -d keystone_pgtap -c 'CREATE EXTENSION keystone' -c 'CREATE EXTENSION pgtap'; then
		harness_stage pgtap --pgtap keystone_pgtap "${files[@]}"
	else
		add pgtap 0 1 0
	fi
}
