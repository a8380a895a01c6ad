/*-------------------------------------------------------------------------
 *
 * ks_merkle.h
 *	  The Merkle tree of RFC 6962: hashes, compact range, tiles, proofs.
 *
 * leaf = SHA-256(0x00 || data), node = SHA-256(0x01 || left || right), empty
 * tree = SHA-256("").  A tree of n leaves splits at the largest power of two
 * below n.  Tiles are those of C2SP tlog-tiles: 256 hashes wide, level L
 * holding the roots of complete subtrees of 256^L leaves.
 *
 * Pure functions: no allocation, no error but their result.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_MERKLE_H
#define KS_MERKLE_H

#include "ks_crypto.h"

#define KS_TREE_DEPTH_MAX	63	/* hashes in a compact range or a proof */
#define KS_TILE_WIDTH		256
#define KS_TILE_LEVELS		8	/* 256^8 = 2^64 */

typedef struct KsHash
{
	uint8		bytes[KS_DIGEST_LEN];
} KsHash;

extern KsCryptoResult ks_leaf_hash(const void *data, size_t len, KsHash *hash);
extern KsCryptoResult ks_node_hash(const KsHash *left, const KsHash *right, KsHash *hash);

/*
 * The compact range ("frontier") of a tree: the roots of its maximal complete
 * subtrees, from the left.  It has as many hashes as size has one bits.
 */
typedef struct KsFrontier
{
	uint64		size;			/* leaves */
	int			n;
	KsHash		hashes[KS_TREE_DEPTH_MAX];
} KsFrontier;

/*
 * Appends a leaf.  KS_CRYPTO_TOO_LONG at 2^63 - 1 leaves, or when *frontier is
 * none.  A call that fails leaves *frontier as it was.
 */
extern KsCryptoResult ks_frontier_push(KsFrontier *frontier, const KsHash *leaf);

/* Appends a complete subtree of 2^level leaves; KS_CRYPTO_TOO_LONG also when
 * size is not a multiple of it. */
extern KsCryptoResult ks_frontier_push_subtree(KsFrontier *frontier, const KsHash *root, int level);

/* The root of the tree; that of the empty one when size is 0. */
extern KsCryptoResult ks_frontier_root(const KsFrontier *frontier, KsHash *root);

/*
 * Gives the root of the complete subtree that covers leaves [n * 2^level, (n +
 * 1) * 2^level), for building proofs.  False when it cannot.
 */
typedef bool (*KsSubtreeReader) (void *arg, int level, uint64 n, KsHash *hash);

/*
 * The inclusion proof of leaf index in the tree of size leaves (RFC 9162,
 * section 2.1.3.1), and the consistency proof between the trees of old_size
 * and new_size leaves (section 2.1.4.1).  path has room for
 * KS_TREE_DEPTH_MAX + 1 hashes.  Return the number of hashes, -1 when the
 * arguments make no sense (sizes end at 2^63 - 1) or the reader fails.  The
 * proof from an empty tree is empty.  What lies in an incomplete
 * right edge is folded from complete subtrees that the reader gives.
 */
extern int	ks_inclusion_proof(uint64 index, uint64 size, KsSubtreeReader reader, void *arg,
							   KsHash path[KS_TREE_DEPTH_MAX + 1]);
extern int	ks_consistency_proof(uint64 old_size, uint64 new_size, KsSubtreeReader reader, void *arg,
								 KsHash path[KS_TREE_DEPTH_MAX + 1]);

/* Verification: RFC 9162, sections 2.1.3.2 and 2.1.4.2. */
extern bool ks_inclusion_verify(uint64 index, uint64 size, const KsHash *leaf,
								const KsHash *path, int npath, const KsHash *root);
extern bool ks_consistency_verify(uint64 old_size, uint64 new_size, const KsHash *old_root,
								  const KsHash *new_root, const KsHash *path, int npath);

/* The root of a full tile's 256 hashes. */
extern KsCryptoResult ks_tile_root(const KsHash hashes[KS_TILE_WIDTH], KsHash *root);

#endif							/* KS_MERKLE_H */
