# Keystone: a credential vault for PostgreSQL.  "make help" lists the targets.

top         := $(dir $(lastword $(MAKEFILE_LIST)))
EXTENSION    = keystone
EXTVERSION  := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(top)keystone.control)
PG_CONFIG   ?= pg_config

# What the scripts under test/ do needs no server's makefiles, not even an
# installed server: "make check" installs one.
SCRIPTED     = help check check-versions lint format unit bench soak fuzz \
			   dev devcheck dev-stop quickstart quickstart-stop META.json dist
GOALS       := $(or $(MAKECMDGOALS),all)

ifneq ($(filter-out $(SCRIPTED),$(GOALS)),)

# Build outside the source tree with: mkdir b; cd b; make -f ../Makefile
$(shell mkdir -p src sql)

MODULE_big   = keystone
OBJS        := $(patsubst $(top)%.c,%.o,$(sort $(wildcard $(top)src/*.c)))
SHLIB_LINK   = -lcrypto
PG_CPPFLAGS  = -I$(top)src -isystem $(shell $(PG_CONFIG) --includedir-server) \
			   -DKEYSTONE_VERSION='"$(EXTVERSION)"'
PG_CFLAGS    = -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes \
			   -Wmissing-prototypes -Wvla -Wformat=2 -Werror
ifneq ($(findstring clang,$(CC)),)
# The server's own flags may be gcc's.  An unused fcinfo of PG_FUNCTION_ARGS is
# the server's doing, as gcc knows; gcc finds the unused parameters of ours.
PG_CFLAGS   += -Wno-unknown-warning-option -Wno-ignored-optimization-argument \
			   -Wno-unused-parameter
endif

# The install script is made of all parts.  An update script is made of
# sql/upgrade/OLD--NEW.sql and the parts that say "-- part: replay"; each
# version that can be updated from is listed here.
PREVVERSIONS =
INSTALL_SQL  = sql/$(EXTENSION)--$(EXTVERSION).sql
UPDATE_SQL   = $(PREVVERSIONS:%=sql/$(EXTENSION)--%--$(EXTVERSION).sql)
PARTS       := $(sort $(wildcard $(top)sql/parts/[0-9]*.sql))
DATA_built   = $(INSTALL_SQL) $(UPDATE_SQL)

REGRESS     := $(filter-out keystone--%,$(patsubst $(top)sql/%.sql,%,$(sort $(wildcard $(top)sql/*.sql))))
REGRESS_OPTS = --load-extension=keystone
ISOLATION   := $(patsubst $(top)test/isolation/specs/%.spec,%,$(sort $(wildcard $(top)test/isolation/specs/*.spec)))
ISOLATION_OPTS = --load-extension=keystone --inputdir=$(top)test/isolation

EXTRA_CLEAN  = sql/$(EXTENSION)--*.sql.tmp

# Bitcode for the server's JIT is of no use to functions that are all C calls.
override with_llvm := no

PGXS        := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard $(top)src/*.h) $(top)keystone.control

$(INSTALL_SQL): $(PARTS) $(top)sql/parts/assemble $(top)keystone.control
	$(top)sql/parts/assemble install $(PARTS) > $@.tmp
	mv $@.tmp $@

$(UPDATE_SQL): sql/$(EXTENSION)--%--$(EXTVERSION).sql: $(top)sql/upgrade/%--$(EXTVERSION).sql $(PARTS) $(top)sql/parts/assemble
	$(top)sql/parts/assemble update $< $(PARTS) > $@.tmp
	mv $@.tmp $@

endif

ifneq ($(filter $(SCRIPTED),$(GOALS)),)

.PHONY: $(filter-out META.json,$(SCRIPTED))

help:
	@sed -n 's/^#: //p' $(top)Makefile

#: make                  build for the server that PG_CONFIG names
#: make install          install it (DESTDIR is respected)
#: make installcheck     regression tests against a running server
#:
#: make check            all tests in throwaway clusters; installs what is missing
#:                       (PG_CONFIG=... for another server)
check:
	$(top)test/check

#: make check-versions   the same for other PostgreSQL versions, and pg_upgrade
#:                       between them, in chroots
check-versions:
	$(top)test/versions/run

#: make lint             rules of the source tree
lint:
	$(top)test/check --only lint

#: make unit             tests of the C code that needs no server
unit:
	$(top)test/check --only unit

#: make format           lay out the C sources as pgindent does
format:
	$(top)test/lint/indent $(wildcard $(top)src/*.[ch] $(top)test/*/*.[ch])

#: make dev              start a cluster with Keystone that stays
#: make devcheck         rebuild into it, run regression and pgTAP tests
#: make dev-stop         remove it
dev:
	$(top)test/dev start
devcheck:
	$(top)test/dev check
dev-stop:
	$(top)test/dev stop

#: make bench            measure, next to pgcrypto and libcrypto alone; the audit log
#:                       next to plain inserts, a chain trigger and pgaudit; lists
#:                       next to the owner's; identity; quotas; encrypted columns
bench:
	$(top)test/bench/run
	$(top)test/bench/audit
	$(top)test/bench/lists
	$(top)test/bench/identity
	$(top)test/bench/usage
	$(top)test/bench/quotas
	$(top)test/bench/cedar
	$(top)test/bench/policy
	$(top)test/bench/keys
	$(top)test/bench/kms
	$(top)test/bench/encrypt
	$(top)test/bench/limits

#: make fuzz             each fuzz target for FUZZ_SECONDS (60)
#: make soak             the long tests
fuzz:
	$(top)test/fuzz/run
soak:
	$(top)test/fuzz/run soak
	$(top)test/soak/audit
	$(top)test/soak/cedar
	$(top)test/soak/windows

#: make quickstart       a private cluster that shows what Keystone does
#: make quickstart-stop  remove it
quickstart:
	$(top)test/quickstart start
quickstart-stop:
	$(top)test/quickstart stop

#: make META.json        description for PGXN, from the control file
META.json: $(top)keystone.control
	$(top)test/lint/meta > $(top)META.json

#: make dist             keystone-VERSION.zip from the last commit
dist:
	git -C $(top) archive --format=zip --prefix=keystone-$(EXTVERSION)/ \
		-o $(CURDIR)/keystone-$(EXTVERSION).zip HEAD

endif
