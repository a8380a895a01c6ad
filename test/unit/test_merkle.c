/*-------------------------------------------------------------------------
 *
 * test_merkle.c
 *	  Tests of ks_merkle against published roots, and against trees whose
 *	  roots are computed by the definition of RFC 6962.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdlib.h>

#include "ks_merkle.h"

#define BRUTE_LEAVES	130
#define PROOF_LEAVES	69		/* proofs of all trees up to this size */
#define TILED_LEAVES	70000	/* more than 256^2 */

/*
 * Leaf i of the brute-force trees: its number, big-endian.
 */
static KsHash
make_leaf(uint32 i)
{
	const uint8 data[] = {(uint8) (i >> 24), (uint8) (i >> 16), (uint8) (i >> 8), (uint8) i};
	KsHash		hash;

	if (ks_leaf_hash(data, sizeof(data), &hash) != KS_CRYPTO_OK)
		abort();
	return hash;
}

/*
 * Root of n leaves from number begin on, as RFC 6962, section 2.1, defines it.
 */
static KsHash
brute_root(uint32 begin, uint32 n)
{
	KsHash		root;
	KsHash		left;
	KsHash		right;
	uint32		k = 1;

	if (n == 1)
		return make_leaf(begin);
	if (n == 0)
	{
		if (ks_sha256("", 0, root.bytes) != KS_CRYPTO_OK)
			abort();
		return root;
	}
	while (k * 2 < n)
		k *= 2;
	left = brute_root(begin, k);
	right = brute_root(begin + k, n - k);
	if (ks_node_hash(&left, &right, &root) != KS_CRYPTO_OK)
		abort();
	return root;
}

static bool
same(const KsHash *a, const KsHash *b)
{
	return memcmp(a, b, sizeof(KsHash)) == 0;
}

static bool
brute_reader(void *arg, int level, uint64 n, KsHash *hash)
{
	(void) arg;
	*hash = brute_root((uint32) n << level, UINT32_C(1) << level);
	return true;
}

/*
 * The tree of the certificate transparency projects' tests, whose inputs have
 * the lengths 0, 1, 1, 2, 2, 4, 8 and 16.
 */
static void
published_roots(void)
{
	static const char *const inputs[] = {
		"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
		"606162636465666768696a6b6c6d6e6f"
	};
	static const char *const roots[] = {
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
	};
	KsFrontier	frontier = {0};
	KsHash		root;

	for (size_t i = 0; i < lengthof(roots); i++)
	{
		uint8		data[16];
		KsHash		leaf;

		CHECK(ks_frontier_root(&frontier, &root) == KS_CRYPTO_OK, "size %zu: root", i);
		CHECK(unit_equals_hex(root.bytes, KS_DIGEST_LEN, roots[i]), "size %zu: root differs", i);
		if (i == lengthof(inputs))
			break;
		unit_unhex(inputs[i], data, strlen(inputs[i]) / 2);
		CHECK(ks_leaf_hash(data, strlen(inputs[i]) / 2, &leaf) == KS_CRYPTO_OK &&
			  ks_frontier_push(&frontier, &leaf) == KS_CRYPTO_OK, "size %zu: push", i);
	}
}

static void
sha256_in_pieces(void)
{
	uint8		data[300];
	uint8		whole[KS_DIGEST_LEN];
	uint8		digest[KS_DIGEST_LEN];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8) unit_random();
	CHECK(ks_sha256(data, sizeof(data), whole) == KS_CRYPTO_OK, "sha256");
	for (size_t cut = 0; cut <= sizeof(data); cut++)
	{
		KsBytes		pieces[] = {{data, cut}, {NULL, 0}, {data + cut, sizeof(data) - cut}};

		CHECK(ks_sha256_pieces(pieces, 3, digest) == KS_CRYPTO_OK &&
			  memcmp(digest, whole, sizeof(whole)) == 0, "cut at %zu", cut);
	}

	/* nothing of a message is left over for the next */
	CHECK(ks_sha256_pieces(NULL, 0, digest) == KS_CRYPTO_OK &&
		  unit_equals_hex(digest, sizeof(digest),
						  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
		  "no piece");

	/* FIPS 180-2, appendix B.1; the digest may lie over the input */
	memcpy(data, "abc", 3);
	CHECK(ks_sha256(data, 3, data) == KS_CRYPTO_OK &&
		  unit_equals_hex(data, KS_DIGEST_LEN,
						  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
		  "digest over the input");
}

static void
frontier_roots(void)
{
	KsFrontier	frontier = {0};
	KsHash		root;

	for (uint32 n = 1; n <= BRUTE_LEAVES; n++)
	{
		KsHash		leaf = make_leaf(n - 1);
		KsHash		expected = brute_root(0, n);
		int			ones = 0;

		for (uint32 bits = n; bits != 0; bits >>= 1)
			ones += bits & 1;
		CHECK(ks_frontier_push(&frontier, &leaf) == KS_CRYPTO_OK, "size %u: push", n);
		CHECK(frontier.size == n && frontier.n == ones, "size %u: %d hashes", n, frontier.n);
		CHECK(ks_frontier_root(&frontier, &root) == KS_CRYPTO_OK && same(&root, &expected),
			  "size %u: root differs", n);
	}
}

/*
 * However a tree is made of complete subtrees, it is the same.
 */
static void
frontier_subtrees(void)
{
	for (int round = 0; round < 200; round++)
	{
		KsFrontier	frontier = {0};
		KsFrontier	before;
		KsHash		expected;
		KsHash		root;

		while (frontier.size < BRUTE_LEAVES)
		{
			int			level = (int) (unit_random() % 6);
			uint64		leaves = UINT64_C(1) << level;
			KsHash		subtree = brute_root((uint32) frontier.size, (uint32) leaves);
			KsCryptoResult result;

			before = frontier;
			result = ks_frontier_push_subtree(&frontier, &subtree, level);
			if (before.size % leaves == 0)
				CHECK(result == KS_CRYPTO_OK && frontier.size == before.size + leaves,
					  "%d at %u", level, (uint32) before.size);
			else
				CHECK(result == KS_CRYPTO_TOO_LONG &&
					  memcmp(&frontier, &before, sizeof(before)) == 0,
					  "%d at %u is not aligned", level, (uint32) before.size);
		}
		expected = brute_root(0, (uint32) frontier.size);
		CHECK(ks_frontier_root(&frontier, &root) == KS_CRYPTO_OK && same(&root, &expected),
			  "size %u: root differs", (uint32) frontier.size);
	}
}

static void
frontier_limits(void)
{
	KsFrontier	frontier = {0};
	KsFrontier	before;
	KsHash		hash = make_leaf(1);

	for (int level = KS_TREE_DEPTH_MAX - 1; level >= 0; level--)
		CHECK(ks_frontier_push_subtree(&frontier, &hash, level) == KS_CRYPTO_OK, "level %d", level);
	CHECK(frontier.size == INT64_MAX && frontier.n == KS_TREE_DEPTH_MAX, "the largest tree");
	CHECK(ks_frontier_root(&frontier, &hash) == KS_CRYPTO_OK, "its root");

	before = frontier;
	CHECK(ks_frontier_push(&frontier, &hash) == KS_CRYPTO_TOO_LONG, "one leaf more");
	CHECK(memcmp(&frontier, &before, sizeof(before)) == 0, "the frontier changed");

	memset(&frontier, 0, sizeof(frontier));
	CHECK(ks_frontier_push_subtree(&frontier, &hash, KS_TREE_DEPTH_MAX) == KS_CRYPTO_TOO_LONG,
		  "level 63");
	CHECK(ks_frontier_push_subtree(&frontier, &hash, -1) == KS_CRYPTO_TOO_LONG, "level -1");

	/* no frontier: too few hashes, too many */
	frontier.size = 3;
	frontier.n = 1;
	CHECK(ks_frontier_push(&frontier, &hash) == KS_CRYPTO_TOO_LONG, "too few hashes");
	CHECK(ks_frontier_root(&frontier, &hash) == KS_CRYPTO_TOO_LONG, "too few hashes: root");
	frontier.n = 3;
	CHECK(ks_frontier_push(&frontier, &hash) == KS_CRYPTO_TOO_LONG, "too many hashes");
	frontier.n = 64;
	frontier.size = UINT64_MAX;
	CHECK(ks_frontier_push(&frontier, &hash) == KS_CRYPTO_TOO_LONG, "too large");
	CHECK(ks_frontier_root(&frontier, &hash) == KS_CRYPTO_TOO_LONG, "too large: root");
}

/*
 * Replaces a hash by its own SHA-256.
 */
static void
damage(KsHash *hash)
{
	if (ks_sha256(hash->bytes, KS_DIGEST_LEN, hash->bytes) != KS_CRYPTO_OK)
		abort();
}

/*
 * A proof with any of its hashes changed, left out or doubled is refused, and
 * so is one with a hash too many.
 */
static void
refuse_damaged_inclusion(uint64 i, uint64 n, const KsHash *leaf, const KsHash *path, int npath,
						 const KsHash *root)
{
	KsHash		other[KS_TREE_DEPTH_MAX + 2];

	for (int at = 0; at < npath; at++)
	{
		memcpy(other, path, sizeof(KsHash) * (size_t) npath);
		damage(&other[at]);
		CHECK(!ks_inclusion_verify(i, n, leaf, other, npath, root),
			  "%u of %u: hash %d damaged", (uint32) i, (uint32) n, at);
	}
	if (npath > 0)
		CHECK(!ks_inclusion_verify(i, n, leaf, path, npath - 1, root), "%u of %u: cut",
			  (uint32) i, (uint32) n);
	memcpy(other, path, sizeof(KsHash) * (size_t) npath);
	other[npath] = *root;
	CHECK(!ks_inclusion_verify(i, n, leaf, other, npath + 1, root), "%u of %u: a hash too many",
		  (uint32) i, (uint32) n);
	other[0] = *leaf;
	damage(&other[0]);
	CHECK(!ks_inclusion_verify(i, n, &other[0], path, npath, root), "%u of %u: another leaf",
		  (uint32) i, (uint32) n);
	other[0] = *root;
	damage(&other[0]);
	CHECK(!ks_inclusion_verify(i, n, leaf, path, npath, &other[0]), "%u of %u: another root",
		  (uint32) i, (uint32) n);
}

static void
inclusion_proofs(void)
{
	KsHash		path[KS_TREE_DEPTH_MAX + 1];

	for (uint32 n = 1; n <= PROOF_LEAVES; n++)
	{
		KsHash		root = brute_root(0, n);

		for (uint32 i = 0; i < n; i++)
		{
			KsHash		leaf = make_leaf(i);
			int			npath = ks_inclusion_proof(i, n, brute_reader, NULL, path);

			if (!CHECK(npath >= 0 && npath <= 7, "%u of %u: %d hashes", i, n, npath))
				continue;
			CHECK(ks_inclusion_verify(i, n, &leaf, path, npath, &root), "%u of %u", i, n);
			refuse_damaged_inclusion(i, n, &leaf, path, npath, &root);
			for (uint32 other = 0; other < n; other++)
				CHECK(other == i || !ks_inclusion_verify(other, n, &leaf, path, npath, &root),
					  "%u of %u taken for %u", i, n, other);
			CHECK(!ks_inclusion_verify(i + n, n, &leaf, path, npath, &root), "outside of %u", n);
		}
		CHECK(ks_inclusion_proof(n, n, brute_reader, NULL, path) == -1, "a leaf behind %u", n);
	}
	CHECK(ks_inclusion_proof(0, 0, brute_reader, NULL, path) == -1, "the empty tree");
	CHECK(!ks_inclusion_verify(0, 0, &path[0], NULL, 0, &path[0]), "in the empty tree");
	CHECK(ks_inclusion_proof(0, UINT64_C(1) << 63, brute_reader, NULL, path) == -1, "2^63 leaves");
}

static void
check_consistency(uint32 m, uint32 n, const KsHash *old_root, const KsHash *new_root)
{
	KsHash		path[KS_TREE_DEPTH_MAX + 2];
	KsHash		other;
	int			npath = ks_consistency_proof(m, n, brute_reader, NULL, path);

	if (!CHECK(npath >= 0 && npath <= 8, "%u to %u: %d hashes", m, n, npath))
		return;
	CHECK((npath == 0) == (m == n), "%u to %u: %d hashes", m, n, npath);
	CHECK(ks_consistency_verify(m, n, old_root, new_root, path, npath), "%u to %u", m, n);

	other = *old_root;
	damage(&other);
	CHECK(!ks_consistency_verify(m, n, &other, new_root, path, npath), "%u to %u: another old root", m, n);
	other = *new_root;
	damage(&other);
	CHECK(!ks_consistency_verify(m, n, old_root, &other, path, npath), "%u to %u: another new root", m, n);
	for (int at = 0; at < npath; at++)
	{
		other = path[at];
		damage(&path[at]);
		CHECK(!ks_consistency_verify(m, n, old_root, new_root, path, npath),
			  "%u to %u: hash %d damaged", m, n, at);
		path[at] = other;
	}
	if (npath > 0)
		CHECK(!ks_consistency_verify(m, n, old_root, new_root, path, npath - 1), "%u to %u: cut", m, n);
	path[npath] = *new_root;
	CHECK(!ks_consistency_verify(m, n, old_root, new_root, path, npath + 1),
		  "%u to %u: a hash too many", m, n);
}

static void
consistency_proofs(void)
{
	KsHash		roots[PROOF_LEAVES + 1];
	KsHash		path[KS_TREE_DEPTH_MAX + 1];

	for (uint32 n = 0; n <= PROOF_LEAVES; n++)
		roots[n] = brute_root(0, n);
	for (uint32 n = 1; n <= PROOF_LEAVES; n++)
	{
		for (uint32 m = 1; m <= n; m++)
			check_consistency(m, n, &roots[m], &roots[n]);

		/* of the empty tree there is nothing to prove */
		CHECK(ks_consistency_proof(0, n, brute_reader, NULL, path) == 0, "0 to %u", n);
		CHECK(ks_consistency_verify(0, n, &roots[0], &roots[n], NULL, 0), "0 to %u", n);
		CHECK(!ks_consistency_verify(0, n, &roots[0], &roots[n], &roots[n], 1), "0 to %u, a hash", n);

		CHECK(ks_consistency_proof(n, n - 1, brute_reader, NULL, path) == -1, "%u shrinks", n);
		CHECK(!ks_consistency_verify(n, n - 1, &roots[n], &roots[n - 1], NULL, 0), "%u shrinks", n);
	}
	CHECK(ks_consistency_verify(0, 0, &roots[0], &roots[0], NULL, 0), "0 to 0");
	CHECK(ks_consistency_proof(1, UINT64_C(1) << 63, brute_reader, NULL, path) == -1, "2^63 leaves");
}

/* A log as its tiles have it: level L holds the roots of 256^L leaves. */
typedef struct Tiles
{
	uint64		size;
	KsHash	   *levels[3];
	uint64		counts[3];
	int			calls_left;		/* then the reader fails */
} Tiles;

static bool
tile_reader(void *arg, int level, uint64 n, KsHash *hash)
{
	Tiles	   *tiles = arg;
	int			tile_level = level / 8;
	uint64		width = UINT64_C(1) << level % 8;
	KsFrontier	frontier = {0};

	if (tiles->calls_left-- == 0)
		return false;
	if (!CHECK(tile_level < (int) lengthof(tiles->levels) &&
			   (n + 1) * width <= tiles->counts[tile_level],
			   "subtree %u of level %d is not complete", (uint32) n, level))
		return false;
	for (uint64 i = 0; i < width; i++)
	{
		if (ks_frontier_push(&frontier, &tiles->levels[tile_level][n * width + i]) != KS_CRYPTO_OK)
			return false;
	}
	return ks_frontier_root(&frontier, hash) == KS_CRYPTO_OK;
}

/* Adds a leaf, and the root of each tile that it fills. */
static void
add_to_tiles(Tiles *tiles, const KsHash *leaf)
{
	KsHash		hash = *leaf;

	tiles->size++;
	for (size_t level = 0; level < lengthof(tiles->levels); level++)
	{
		KsHash	   *hashes = tiles->levels[level];

		hashes[tiles->counts[level]++] = hash;
		if (tiles->counts[level] % KS_TILE_WIDTH != 0)
			break;
		CHECK(ks_tile_root(hashes + tiles->counts[level] - KS_TILE_WIDTH, &hash) == KS_CRYPTO_OK,
			  "tile root");
	}
}

/*
 * Root of the first n leaves, from as few hashes of the tiles as will do: a
 * restart does the same.
 */
static KsHash
root_from_tiles(const Tiles *tiles, uint64 n)
{
	KsFrontier	frontier = {0};
	KsHash		root = {{0}};

	for (int level = (int) lengthof(tiles->levels) - 1; level >= 0; level--)
	{
		while (n - frontier.size >= UINT64_C(1) << 8 * level)
		{
			const KsHash *hash = &tiles->levels[level][frontier.size >> 8 * level];

			if (!CHECK(ks_frontier_push_subtree(&frontier, hash, 8 * level) == KS_CRYPTO_OK,
					   "push of level %d", 8 * level))
				return root;
		}
	}
	CHECK(ks_frontier_root(&frontier, &root) == KS_CRYPTO_OK, "root");
	return root;
}

/*
 * Proofs from tiles, for the tree of as many leaves as there are.
 */
static void
check_tiled_tree(Tiles *tiles, const KsHash *root)
{
	const uint32 n = (uint32) tiles->size;
	const uint32 places[] = {0, 1, 127, 255, 256, 257, 511, 512, 4095, 32767, 65535, 65536, 65537,
	n - 2, n - 1, n / 2, unit_random() % n, unit_random() % n, unit_random() % n};
	KsHash		path[KS_TREE_DEPTH_MAX + 1];

	for (size_t p = 0; p < lengthof(places); p++)
	{
		uint32		i = places[p];
		KsHash		old_root;
		int			npath;

		if (i >= n)
			continue;
		tiles->calls_left = -1;
		npath = ks_inclusion_proof(i, n, tile_reader, tiles, path);
		CHECK(npath >= 0 && ks_inclusion_verify(i, n, &tiles->levels[0][i], path, npath, root),
			  "%u of %u", i, n);
		if (npath > 0)
			refuse_damaged_inclusion(i, n, &tiles->levels[0][i], path, npath, root);

		old_root = root_from_tiles(tiles, i + 1);
		npath = ks_consistency_proof(i + 1, n, tile_reader, tiles, path);
		CHECK(npath >= 0 && ks_consistency_verify(i + 1, n, &old_root, root, path, npath),
			  "%u to %u", i + 1, n);
	}
}

static void
tiled_trees(void)
{
	static const uint32 sizes[] = {255, 256, 257, 511, 512, 513, 4097, 65535, 65536, 65537, 65793, 66000, TILED_LEAVES};
	Tiles		tiles = {.calls_left = -1};
	KsFrontier	frontier = {0};
	KsHash		root;
	size_t		next = 0;

	for (size_t level = 0; level < lengthof(tiles.levels); level++)
	{
		tiles.levels[level] = malloc(sizeof(KsHash) * ((TILED_LEAVES >> 8 * level) + 1));
		if (tiles.levels[level] == NULL)
			abort();
	}
	for (uint32 i = 0; i < TILED_LEAVES; i++)
	{
		KsHash		leaf = make_leaf(i);

		add_to_tiles(&tiles, &leaf);
		CHECK(ks_frontier_push(&frontier, &leaf) == KS_CRYPTO_OK, "push %u", i);
		if (tiles.size == sizes[next])
		{
			KsHash		rebuilt = root_from_tiles(&tiles, tiles.size);

			CHECK(ks_frontier_root(&frontier, &root) == KS_CRYPTO_OK && same(&root, &rebuilt),
				  "size %u: root from tiles differs", sizes[next]);
			check_tiled_tree(&tiles, &root);
			next++;
		}
	}
	CHECK(next == lengthof(sizes), "not all sizes");

	/* a reader that fails anywhere fails the proof */
	{
		KsHash		path[KS_TREE_DEPTH_MAX + 1];
		int			calls = 0;

		for (;; calls++)
		{
			tiles.calls_left = calls;
			if (ks_inclusion_proof(4711, TILED_LEAVES, tile_reader, &tiles, path) >= 0)
				break;
		}
		CHECK(calls >= 16, "%d calls", calls);
		for (calls = 0;; calls++)
		{
			tiles.calls_left = calls;
			if (ks_consistency_proof(4711, TILED_LEAVES, tile_reader, &tiles, path) >= 0)
				break;
		}
		CHECK(calls >= 16, "consistency: %d calls", calls);
	}
	for (size_t level = 0; level < lengthof(tiles.levels); level++)
		free(tiles.levels[level]);
}

/* In a tree whose leaves are all the same, so are all subtrees of a level. */
static bool
uniform_reader(void *arg, int level, uint64 n, KsHash *hash)
{
	const KsHash *by_level = arg;

	(void) n;
	*hash = by_level[level];
	return true;
}

static void
check_largest(uint64 size, KsHash *by_level)
{
	const uint64 places[] = {0, 1, 2, 3, size / 3, size / 2, size - 3, size - 2, size - 1};
	KsHash		path[KS_TREE_DEPTH_MAX + 1];
	KsFrontier	frontier = {0};
	KsHash		root;
	int			npath;

	for (int level = KS_TREE_DEPTH_MAX - 1; level >= 0; level--)
	{
		if ((size >> level) & 1)
			CHECK(ks_frontier_push_subtree(&frontier, &by_level[level], level) == KS_CRYPTO_OK, "push");
	}
	CHECK(ks_frontier_root(&frontier, &root) == KS_CRYPTO_OK, "root");

	for (size_t p = 0; p < lengthof(places); p++)
	{
		KsFrontier	old = {0};
		KsHash		old_root;

		npath = ks_inclusion_proof(places[p], size, uniform_reader, by_level, path);
		CHECK(npath >= 0 && npath <= KS_TREE_DEPTH_MAX, "place %zu: %d hashes", p, npath);
		CHECK(ks_inclusion_verify(places[p], size, &by_level[0], path, npath, &root), "place %zu", p);

		for (int level = KS_TREE_DEPTH_MAX - 1; level >= 0; level--)
		{
			if (((places[p] + 1) >> level) & 1)
				CHECK(ks_frontier_push_subtree(&old, &by_level[level], level) == KS_CRYPTO_OK, "push");
		}
		CHECK(ks_frontier_root(&old, &old_root) == KS_CRYPTO_OK, "old root");
		npath = ks_consistency_proof(places[p] + 1, size, uniform_reader, by_level, path);
		CHECK(npath >= 0 && npath <= KS_TREE_DEPTH_MAX + 1, "place %zu: %d hashes", p, npath);
		CHECK(ks_consistency_verify(places[p] + 1, size, &old_root, &root, path, npath),
			  "place %zu: consistency", p);
	}
}

static void
largest_trees(void)
{
	KsHash		by_level[KS_TREE_DEPTH_MAX];
	KsHash		path[KS_TREE_DEPTH_MAX + 1];

	by_level[0] = make_leaf(0);
	for (int level = 1; level < KS_TREE_DEPTH_MAX; level++)
		CHECK(ks_node_hash(&by_level[level - 1], &by_level[level - 1], &by_level[level]) == KS_CRYPTO_OK,
			  "level %d", level);

	check_largest(INT64_MAX, by_level);
	check_largest((UINT64_C(1) << 62) + 1, by_level);
	check_largest(UINT64_C(1) << 62, by_level);
	check_largest((UINT64_C(1) << 40) + 12345, by_level);

	/* the longest path there is just has room */
	CHECK(ks_consistency_proof(3, INT64_MAX, uniform_reader, by_level, path) == KS_TREE_DEPTH_MAX + 1,
		  "the longest proof");
}

const UnitTest merkle_tests[] = {
	{"SHA-256 in pieces is that of the whole", sha256_in_pieces},
	{"the published tree of eight leaves has its roots", published_roots},
	{"a frontier has the root of the same leaves", frontier_roots},
	{"a frontier made of subtrees is the same", frontier_subtrees},
	{"a frontier that cannot grow stays as it was", frontier_limits},
	{"each inclusion proof verifies, and damaged ones do not", inclusion_proofs},
	{"each consistency proof verifies, and damaged ones do not", consistency_proofs},
	{"proofs from tiles verify beyond 256 and 65536 leaves", tiled_trees},
	{"proofs of the largest trees verify", largest_trees},
	{NULL, NULL}
};
