/*-------------------------------------------------------------------------
 *
 * ks_merkle.c
 *	  The Merkle tree of RFC 6962: hashes, compact range, tiles, proofs.
 *
 * Pure, and allocates nothing.  What must always hold:
 *
 *	- a frontier has one hash for each one bit of its size, the largest subtree
 *	  first; a call that fails leaves it as it was;
 *	- a tree has at most 2^63 - 1 leaves, so that a frontier never has more
 *	  than KS_TREE_DEPTH_MAX hashes, and a consistency proof one more;
 *	- verification reads nothing but its arguments, and says no when a hash
 *	  cannot be computed.
 *
 * Hashes in the tree are public: they are compared with memcmp().
 *
 *-------------------------------------------------------------------------
 */
#include "ks_merkle.h"

#define TREE_SIZE_MAX	((UINT64_C(1) << KS_TREE_DEPTH_MAX) - 1)

/* They keep a leaf from being passed off as a node, and a node as a leaf. */
#define LEAF_PREFIX		0x00
#define NODE_PREFIX		0x01

/*
 * Hash of a leaf that has len bytes of data.
 */
KsCryptoResult
ks_leaf_hash(const void *data, size_t len, KsHash *hash)
{
	static const uint8 prefix = LEAF_PREFIX;
	KsBytes		pieces[] = {{&prefix, 1}, {data, len}};

	return ks_sha256_pieces(pieces, lengthof(pieces), hash->bytes);
}

/*
 * Hash of a node with two children.  hash may be one of them.
 */
KsCryptoResult
ks_node_hash(const KsHash *left, const KsHash *right, KsHash *hash)
{
	uint8		node[1 + 2 * KS_DIGEST_LEN];

	/* one piece costs less than three */
	node[0] = NODE_PREFIX;
	memcpy(node + 1, left->bytes, KS_DIGEST_LEN);
	memcpy(node + 1 + KS_DIGEST_LEN, right->bytes, KS_DIGEST_LEN);
	return ks_sha256(node, sizeof(node), hash->bytes);
}

static bool
same_hash(const KsHash *a, const KsHash *b)
{
	return memcmp(a->bytes, b->bytes, KS_DIGEST_LEN) == 0;
}

/* Hashes in the frontier of a tree. */
static int
count_ones(uint64 size)
{
	int			n = 0;

	for (; size != 0; size &= size - 1)
		n++;
	return n;
}

/*
 * Appends a leaf.
 */
KsCryptoResult
ks_frontier_push(KsFrontier *frontier, const KsHash *leaf)
{
	return ks_frontier_push_subtree(frontier, leaf, 0);
}

/*
 * Appends a complete subtree of 2^level leaves.  As with adding one to a
 * binary number, the carry joins the subtrees of the same size on its way.
 */
KsCryptoResult
ks_frontier_push_subtree(KsFrontier *frontier, const KsHash *root, int level)
{
	KsHash		carry = *root;
	int			n = frontier->n;

	if (level < 0 || level >= KS_TREE_DEPTH_MAX ||
		frontier->size > TREE_SIZE_MAX - (UINT64_C(1) << level) ||
		frontier->size % (UINT64_C(1) << level) != 0 ||
		n != count_ones(frontier->size))
		return KS_CRYPTO_TOO_LONG;

	for (uint64 k = frontier->size >> level; k & 1; k >>= 1)
	{
		KsCryptoResult result = ks_node_hash(&frontier->hashes[--n], &carry, &carry);

		if (result != KS_CRYPTO_OK)
			return result;
	}

	frontier->hashes[n++] = carry;
	frontier->n = n;
	frontier->size += UINT64_C(1) << level;
	return KS_CRYPTO_OK;
}

/*
 * Root of the tree: its subtrees joined from the right.
 */
KsCryptoResult
ks_frontier_root(const KsFrontier *frontier, KsHash *root)
{
	if (frontier->size > TREE_SIZE_MAX || frontier->n != count_ones(frontier->size))
		return KS_CRYPTO_TOO_LONG;
	if (frontier->n == 0)
		return ks_sha256(NULL, 0, root->bytes);

	*root = frontier->hashes[frontier->n - 1];
	for (int i = frontier->n - 2; i >= 0; i--)
	{
		KsCryptoResult result = ks_node_hash(&frontier->hashes[i], root, root);

		if (result != KS_CRYPTO_OK)
			return result;
	}
	return KS_CRYPTO_OK;
}

/* Where hashes of subtrees come from, and the proof that is made of them. */
typedef struct Proof
{
	KsSubtreeReader reader;
	void	   *arg;
	KsHash	   *path;
	int			n;
} Proof;

/*
 * Adds the root of leaves [begin, end) to the proof.  The range is one that
 * splitting a tree gives: begin is a multiple of the power of two at or below
 * its length.  Its complete subtrees are joined from the right, as those of a
 * frontier.
 */
static bool
add_range(Proof *proof, uint64 begin, uint64 end)
{
	KsHash	   *root = &proof->path[proof->n];
	uint64		len = end - begin;
	bool		joined = false;

	for (int level = 0; len >> level != 0; level++)
	{
		KsHash		left;

		if (((len >> level) & 1) == 0)
			continue;
		end -= UINT64_C(1) << level;
		if (!proof->reader(proof->arg, level, end >> level, joined ? &left : root))
			return false;
		if (joined && ks_node_hash(&left, root, root) != KS_CRYPTO_OK)
			return false;
		joined = true;
	}
	proof->n++;
	return true;
}

/* Proofs are found from the root down, and written from the leaf up. */
static void
turn_around(Proof *proof)
{
	for (int i = 0, j = proof->n - 1; i < j; i++, j--)
	{
		KsHash		other = proof->path[i];

		proof->path[i] = proof->path[j];
		proof->path[j] = other;
	}
}

/*
 * The largest power of two below n, where a tree of n > 1 leaves splits.
 */
static uint64
split_of(uint64 n)
{
	uint64		k = 1;

	/* n is at most 2^63 - 1: the shift does not overflow */
	while (k << 1 < n)
		k <<= 1;
	return k;
}

/*
 * Inclusion proof of leaf index in the tree of size leaves: the siblings of
 * the nodes between the leaf and the root.  Returns the number of hashes, or
 * -1 if there is no such leaf or the reader fails.
 */
int
ks_inclusion_proof(uint64 index, uint64 size, KsSubtreeReader reader, void *arg,
				   KsHash path[KS_TREE_DEPTH_MAX + 1])
{
	Proof		proof = {.reader = reader, .arg = arg, .path = path};
	uint64		begin = 0;
	uint64		end = size;

	if (index >= size || size > TREE_SIZE_MAX)
		return -1;

	while (end - begin > 1)
	{
		uint64		middle = begin + split_of(end - begin);
		bool		left = index < middle;

		if (!(left ? add_range(&proof, middle, end) : add_range(&proof, begin, middle)))
			return -1;
		if (left)
			end = middle;
		else
			begin = middle;
	}
	turn_around(&proof);
	return proof.n;
}

/*
 * Consistency proof between the trees of old_size and new_size leaves.  The
 * way goes down to the subtree that ends where the old tree ends; its root
 * comes first, unless it is the old tree itself, whose root the verifier has.
 * There is nothing to prove of an empty old tree, nor of an equal one.
 */
int
ks_consistency_proof(uint64 old_size, uint64 new_size, KsSubtreeReader reader, void *arg,
					 KsHash path[KS_TREE_DEPTH_MAX + 1])
{
	Proof		proof = {.reader = reader, .arg = arg, .path = path};
	uint64		begin = 0;
	uint64		end = new_size;

	if (old_size > new_size || new_size > TREE_SIZE_MAX)
		return -1;
	if (old_size == 0)
		return 0;

	while (end != old_size)
	{
		uint64		middle = begin + split_of(end - begin);
		bool		left = old_size <= middle;

		if (!(left ? add_range(&proof, middle, end) : add_range(&proof, begin, middle)))
			return -1;
		if (left)
			end = middle;
		else
			begin = middle;
	}
	if (begin != 0 && !add_range(&proof, begin, end))
		return -1;
	turn_around(&proof);
	return proof.n;
}

/*
 * A place on the way up the tree: the number of a node in its level, and that
 * of the level's last node.
 */
typedef struct Climb
{
	uint64		node;
	uint64		last;
} Climb;

/* Whether the next hash of the path is the node's left sibling. */
static bool
is_right_child(const Climb *climb)
{
	return (climb->node & 1) != 0 || climb->node == climb->last;
}

/*
 * Goes up one level.  A last node without a sibling is its own parent: it goes
 * on up to where it has one.
 */
static void
go_up(Climb *climb)
{
	while ((climb->node & 1) == 0 && climb->node != 0 && climb->node == climb->last)
	{
		climb->node >>= 1;
		climb->last >>= 1;
	}
	climb->node >>= 1;
	climb->last >>= 1;
}

/*
 * Verifies an inclusion proof: RFC 9162, section 2.1.3.2.
 */
bool
ks_inclusion_verify(uint64 index, uint64 size, const KsHash *leaf,
					const KsHash *path, int npath, const KsHash *root)
{
	Climb		climb = {index, size - 1};
	KsHash		hash = *leaf;

	if (index >= size)
		return false;

	for (int i = 0; i < npath; i++)
	{
		bool		right = is_right_child(&climb);

		if (climb.last == 0)
			return false;
		if (ks_node_hash(right ? &path[i] : &hash, right ? &hash : &path[i], &hash) != KS_CRYPTO_OK)
			return false;
		go_up(&climb);
	}
	return climb.last == 0 && same_hash(&hash, root);
}

/*
 * Verifies a consistency proof: RFC 9162, section 2.1.4.2.  Every tree is
 * consistent with the empty one, without a proof.
 */
bool
ks_consistency_verify(uint64 old_size, uint64 new_size, const KsHash *old_root,
					  const KsHash *new_root, const KsHash *path, int npath)
{
	Climb		climb = {old_size - 1, new_size - 1};
	KsHash		old_hash;
	KsHash		new_hash;
	int			next = 0;

	if (old_size > new_size)
		return false;
	if (old_size == new_size)
		return npath == 0 && same_hash(old_root, new_root);
	if (old_size == 0)
		return npath == 0;
	if (npath == 0)
		return false;

	/* up to the subtree that ends where the old tree ends */
	while ((climb.node & 1) != 0)
	{
		climb.node >>= 1;
		climb.last >>= 1;
	}
	/* when that is the old tree itself, its root is not in the path */
	old_hash = new_hash = climb.node == 0 ? *old_root : path[next++];

	for (; next < npath; next++)
	{
		const KsHash *sibling = &path[next];

		if (climb.last == 0)
			return false;
		if (is_right_child(&climb))
		{
			if (ks_node_hash(sibling, &old_hash, &old_hash) != KS_CRYPTO_OK ||
				ks_node_hash(sibling, &new_hash, &new_hash) != KS_CRYPTO_OK)
				return false;
		}
		else if (ks_node_hash(&new_hash, sibling, &new_hash) != KS_CRYPTO_OK)
			return false;
		go_up(&climb);
	}
	return climb.last == 0 && same_hash(&old_hash, old_root) && same_hash(&new_hash, new_root);
}

/*
 * Root of a full tile: the hash that the next level has for it.
 */
KsCryptoResult
ks_tile_root(const KsHash hashes[KS_TILE_WIDTH], KsHash *root)
{
	KsFrontier	frontier = {0};

	for (int i = 0; i < KS_TILE_WIDTH; i++)
	{
		KsCryptoResult result = ks_frontier_push(&frontier, &hashes[i]);

		if (result != KS_CRYPTO_OK)
			return result;
	}
	return ks_frontier_root(&frontier, root);
}
