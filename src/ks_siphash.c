/*-------------------------------------------------------------------------
 *
 * ks_siphash.c
 *	  SipHash-2-4 with a result of 128 bits.
 *
 * Words are little-endian whatever the machine is, as in the published test
 * vectors.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_siphash.h"

typedef struct State
{
	uint64		v0;
	uint64		v1;
	uint64		v2;
	uint64		v3;
} State;

static inline uint64
rotate(uint64 word, int bits)
{
	return (word << bits) | (word >> (64 - bits));
}

static inline uint64
read_word(const uint8 *bytes)
{
	uint64		word = 0;

	for (int i = 7; i >= 0; i--)
		word = (word << 8) | bytes[i];
	return word;
}

static inline void
write_word(uint8 *bytes, uint64 word)
{
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8) (word >> (8 * i));
}

static inline void
rounds(State *s, int n)
{
	for (int i = 0; i < n; i++)
	{
		s->v0 += s->v1;
		s->v1 = rotate(s->v1, 13) ^ s->v0;
		s->v0 = rotate(s->v0, 32);
		s->v2 += s->v3;
		s->v3 = rotate(s->v3, 16) ^ s->v2;
		s->v0 += s->v3;
		s->v3 = rotate(s->v3, 21) ^ s->v0;
		s->v2 += s->v1;
		s->v1 = rotate(s->v1, 17) ^ s->v2;
		s->v2 = rotate(s->v2, 32);
	}
}

static inline void
absorb(State *s, uint64 word)
{
	s->v3 ^= word;
	rounds(s, 2);
	s->v0 ^= word;
}

/* The bytes that make no whole word, and the length. */
static inline uint64
last_word(const uint8 *bytes, size_t len)
{
	uint64		word = (uint64) len << 56;

	for (size_t i = 0; i < len % 8; i++)
		word |= (uint64) bytes[i] << (8 * i);
	return word;
}

void
ks_siphash(const uint8 key[KS_SIPHASH_LEN], const void *data, size_t len, uint8 hash[KS_SIPHASH_LEN])
{
	const uint8 *bytes = data;
	uint64		k0 = read_word(key);
	uint64		k1 = read_word(key + 8);
	State		s;

	/*
	 * The constants are "somepseudorandomlygeneratedbytes"; 0xee marks the
	 * result of 128 bits.
	 */
	s.v0 = k0 ^ UINT64_C(0x736f6d6570736575);
	s.v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee;
	s.v2 = k0 ^ UINT64_C(0x6c7967656e657261);
	s.v3 = k1 ^ UINT64_C(0x7465646279746573);

	for (size_t i = 0; i < len / 8; i++)
		absorb(&s, read_word(bytes + 8 * i));
	absorb(&s, last_word(bytes + len / 8 * 8, len));

	s.v2 ^= 0xee;
	rounds(&s, 4);
	write_word(hash, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
	s.v1 ^= 0xdd;
	rounds(&s, 4);
	write_word(hash + 8, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}
