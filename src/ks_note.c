/*-------------------------------------------------------------------------
 *
 * ks_note.c
 *	  Signed notes, checkpoints and proofs as text.
 *
 * Everything here is pure and allocates nothing.  What must always hold:
 *
 *	- no byte outside of the lengths given is read or written;
 *	- what is read as a checkpoint, a number, a key or base64 is exactly what
 *	  would be written for it: no leading zeros, no spare bits, no other line;
 *	- reading a checkpoint and verifying its signature cut the note at the same
 *	  place, so that what is read is what was signed;
 *	- copies of a seed are wiped.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_note.h"

#include <stdio.h>

#include "ks_mem.h"

#define TYPE_ED25519		0x01	/* of a signature, c2sp.org/signed-note */

#define SIGNATURE_START		"\xe2\x80\x94 " /* em dash, space */
#define SIGNATURE_LEN		(KS_NOTE_KEY_ID_LEN + KS_ED25519_SIGNATURE_LEN)

#define BASE64_LEN(n)		(((n) + 2) / 3 * 4)

static const char base64_digits[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Writes a text into a buffer of fixed size; full is sticky. */
typedef struct Writer
{
	char	   *buf;
	size_t		size;
	size_t		len;			/* less than size: room for the terminator */
	bool		full;
} Writer;

/* A part of a text. */
typedef struct Piece
{
	const char *text;
	size_t		len;
} Piece;

static void
put_bytes(Writer *w, const void *data, size_t len)
{
	if (w->full || w->size == 0 || len > w->size - 1 - w->len)
	{
		w->full = true;
		return;
	}
	if (len > 0)
		memcpy(w->buf + w->len, data, len);
	w->len += len;
}

static void
put_text(Writer *w, const char *text)
{
	put_bytes(w, text, strlen(text));
}

static void
put_number(Writer *w, uint64 value)
{
	char		digits[24];

	snprintf(digits, sizeof(digits), "%llu", (unsigned long long) value);
	put_text(w, digits);
}

/* data is at most what fits: a hash, or a signature with its key id. */
static void
put_base64(Writer *w, const void *data, size_t len)
{
	char		text[BASE64_LEN(SIGNATURE_LEN) + 1];

	if (ks_base64_encode(data, len, text, sizeof(text)) == 0)
		w->full = true;
	else
		put_text(w, text);
}

/*
 * Ends the text.  Its length, or 0 and an empty text when it did not fit.
 */
static size_t
finish(Writer *w)
{
	if (w->full)
		w->len = 0;
	if (w->size > 0)
		w->buf[w->len] = '\0';
	return w->len;
}

/*
 * Cuts a line off the front of *rest, without its newline.  False when there
 * is none that ends in a newline.
 */
static bool
next_line(Piece *rest, Piece *line)
{
	const char *end = rest->len > 0 ? memchr(rest->text, '\n', rest->len) : NULL;

	if (end == NULL)
		return false;
	line->text = rest->text;
	line->len = (size_t) (end - rest->text);
	rest->text = end + 1;
	rest->len -= line->len + 1;
	return true;
}

static bool
piece_is(Piece piece, const char *text)
{
	return piece.len == strlen(text) && memcmp(piece.text, text, piece.len) == 0;
}

/*
 * Whether a piece can be the name of a key of ours, and an origin: printable
 * ASCII without a plus sign.  So no two look the same, and no white space
 * beyond ASCII needs to be known.
 */
static bool
is_name(Piece name)
{
	for (size_t i = 0; i < name.len; i++)
	{
		if (name.text[i] <= ' ' || name.text[i] > '~' || name.text[i] == '+')
			return false;
	}
	return name.len > 0 && name.len <= KS_ORIGIN_MAX;
}

/*
 * True for a text that can be the name of a key.
 */
bool
ks_note_valid_name(const char *name)
{
	Piece		piece = {name, strlen(name)};

	return is_name(piece);
}

/*
 * Fills in the key id from name and public key.
 */
static bool
set_key_id(KsNoteKey *key)
{
	static const uint8 separator[] = {'\n', TYPE_ED25519};
	uint8		digest[KS_DIGEST_LEN];
	KsBytes		pieces[] = {
		{key->name, strlen(key->name)},
		{separator, sizeof(separator)},
		{key->public_key, KS_ED25519_KEY_LEN}
	};

	if (ks_sha256_pieces(pieces, lengthof(pieces), digest) != KS_CRYPTO_OK)
		return false;
	memcpy(key->key_id, digest, KS_NOTE_KEY_ID_LEN);
	return true;
}

/*
 * Makes a signing key of a name and a seed.  The caller wipes *signer; it is
 * wiped when this returns false, for a name that is none or longer than
 * KS_ORIGIN_MAX, or when libcrypto refuses.
 */
bool
ks_note_signer_init(KsNoteSigner *signer, const char *name, const uint8 seed[KS_ED25519_SEED_LEN])
{
	memset(signer, 0, sizeof(*signer));
	if (!ks_note_valid_name(name))
		return false;

	memcpy(signer->key.name, name, strlen(name));
	memcpy(signer->seed, seed, KS_ED25519_SEED_LEN);
	if (ks_ed25519_public(seed, signer->key.public_key) != KS_CRYPTO_OK ||
		!set_key_id(&signer->key))
	{
		ks_wipe(signer, sizeof(*signer));
		return false;
	}
	return true;
}

/*
 * The key as a text for auditors.  Returns its length, less than KS_VKEY_MAX.
 */
size_t
ks_vkey_format(const KsNoteKey *key, char *buf, size_t size)
{
	Writer		w = {.buf = buf, .size = size};
	uint8		typed[1 + KS_ED25519_KEY_LEN];
	char		id[2 * KS_NOTE_KEY_ID_LEN + 1];

	typed[0] = TYPE_ED25519;
	memcpy(typed + 1, key->public_key, KS_ED25519_KEY_LEN);
	for (int i = 0; i < KS_NOTE_KEY_ID_LEN; i++)
		snprintf(id + 2 * i, 3, "%02x", key->key_id[i]);

	put_text(&w, key->name);
	put_text(&w, "+");
	put_text(&w, id);
	put_text(&w, "+");
	put_base64(&w, typed, sizeof(typed));
	return finish(&w);
}

/*
 * Reads the text of a key.  False, with *key zeroed, for a text that
 * ks_vkey_format() does not write for some key: a type other than Ed25519, a
 * key id that is not the key's.
 */
bool
ks_vkey_parse(const char *vkey, KsNoteKey *key)
{
	const char *plus = strchr(vkey, '+');
	Piece		name = {vkey, plus != NULL ? (size_t) (plus - vkey) : 0};
	const char *id_end = plus != NULL ? strchr(plus + 1, '+') : NULL;
	uint8		typed[1 + KS_ED25519_KEY_LEN];
	char		again[KS_VKEY_MAX];

	*key = (KsNoteKey) {0};
	if (id_end == NULL || !is_name(name) ||
		ks_base64_decode(id_end + 1, strlen(id_end + 1), typed, sizeof(typed)) != sizeof(typed) ||
		typed[0] != TYPE_ED25519)
		return false;

	memcpy(key->name, name.text, name.len);
	memcpy(key->public_key, typed + 1, KS_ED25519_KEY_LEN);

	/* the rest, and with it the key id, is right if it is what is written */
	if (!set_key_id(key) ||
		ks_vkey_format(key, again, sizeof(again)) == 0 || strcmp(again, vkey) != 0)
	{
		*key = (KsNoteKey) {0};
		return false;
	}
	return true;
}

/*
 * Writes a checkpoint with the signatures of one or more signers, as when one
 * key succeeds another.  Returns the length, at most KS_NOTE_MAX; 0 when it
 * does not fit, something in it is not valid, or libcrypto refuses.
 */
size_t
ks_checkpoint_format(const KsCheckpoint *checkpoint, const KsNoteSigner *const *signers,
					 int nsigners, char *buf, size_t size)
{
	Writer		w = {.buf = buf, .size = size <= KS_NOTE_MAX ? size : KS_NOTE_MAX + 1};
	uint8		signature[SIGNATURE_LEN];
	size_t		text_len;

	if (!ks_note_valid_name(checkpoint->origin) || checkpoint->size > INT64_MAX ||
		nsigners < 1 || nsigners > KS_NOTE_SIGNATURES_MAX)
		w.full = true;

	put_text(&w, checkpoint->origin);
	put_text(&w, "\n");
	put_number(&w, checkpoint->size);
	put_text(&w, "\n");
	put_base64(&w, checkpoint->root.bytes, KS_DIGEST_LEN);
	put_text(&w, "\n");
	text_len = w.len;
	put_text(&w, "\n");

	for (int i = 0; i < nsigners && !w.full; i++)
	{
		const KsNoteKey *key = &signers[i]->key;

		memcpy(signature, key->key_id, KS_NOTE_KEY_ID_LEN);
		if (!ks_note_sign_bytes(signers[i], buf, text_len, signature + KS_NOTE_KEY_ID_LEN))
			w.full = true;
		put_text(&w, SIGNATURE_START);
		put_text(&w, key->name);
		put_text(&w, " ");
		put_base64(&w, signature, sizeof(signature));
		put_text(&w, "\n");
	}
	return finish(&w);
}

/*
 * Cuts a note into its text, which is what is signed, and its signature lines:
 * at the last empty line, as c2sp.org/signed-note says.
 */
static bool
split_note(const char *note, size_t len, Piece *text, Piece *signatures)
{
	for (size_t i = 0; i < len; i++)
	{
		if ((unsigned char) note[i] < ' ' && note[i] != '\n')
			return false;
	}
	for (size_t i = len; i >= 3; i--)
	{
		/* an empty line ends before i, and another line before it */
		if (note[i - 1] == '\n' && note[i - 2] == '\n')
		{
			text->text = note;
			text->len = i - 1;
			signatures->text = note + i;
			signatures->len = len - i;
			return signatures->len > 0 && note[len - 1] == '\n';
		}
	}
	return false;
}

/*
 * A number without leading zeros that a bigint holds.
 */
static bool
parse_number(Piece digits, uint64 *value)
{
	*value = 0;
	for (size_t i = 0; i < digits.len; i++)
	{
		uint64		digit = (uint64) digits.text[i] - '0';

		if (digits.text[i] < '0' || digits.text[i] > '9' ||
			(i == 0 && digit == 0 && digits.len > 1) ||
			*value > (INT64_MAX - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	return digits.len > 0;
}

/*
 * Reads the checkpoint of a signed note: three lines, no extension lines.
 * False, with *checkpoint zeroed, if the note's text is anything else.
 */
bool
ks_checkpoint_parse(const char *note, size_t len, KsCheckpoint *checkpoint)
{
	Piece		text,
				signatures,
				origin,
				size,
				root;

	memset(checkpoint, 0, sizeof(*checkpoint));
	if (!split_note(note, len, &text, &signatures) ||
		!next_line(&text, &origin) || !is_name(origin) ||
		!next_line(&text, &size) || !next_line(&text, &root) || text.len != 0)
		return false;

	if (!parse_number(size, &checkpoint->size) ||
		ks_base64_decode(root.text, root.len, checkpoint->root.bytes, KS_DIGEST_LEN) != KS_DIGEST_LEN)
	{
		memset(checkpoint, 0, sizeof(*checkpoint));
		return false;
	}
	memcpy(checkpoint->origin, origin.text, origin.len);
	return true;
}

/* What a signature line says of the key that is asked for. */
typedef enum LineVerdict
{
	LINE_BROKEN,				/* no signature line, or a false signature */
	LINE_OTHER,					/* of another key */
	LINE_VALID
} LineVerdict;

static LineVerdict
verify_line(Piece line, Piece text, const KsNoteKey *key)
{
	const size_t start = strlen(SIGNATURE_START);
	uint8		signature[SIGNATURE_LEN];
	Piece		name;
	Piece		base64;
	const char *space;
	int			n;

	if (line.len <= start || memcmp(line.text, SIGNATURE_START, start) != 0)
		return LINE_BROKEN;
	name.text = line.text + start;
	space = memchr(name.text, ' ', line.len - start);
	if (space == NULL || space == name.text)
		return LINE_BROKEN;
	name.len = (size_t) (space - name.text);
	base64.text = space + 1;
	base64.len = line.len - start - name.len - 1;

	/* of another key: any name, and a signature of any length */
	n = ks_base64_decode(base64.text, base64.len, NULL, SIZE_MAX);
	if (memchr(name.text, '+', name.len) != NULL || n <= KS_NOTE_KEY_ID_LEN)
		return LINE_BROKEN;
	if (!piece_is(name, key->name))
		return LINE_OTHER;

	/* eight characters are the key id and a byte or two */
	if (ks_base64_decode(base64.text, 8, signature, sizeof(signature)) < KS_NOTE_KEY_ID_LEN ||
		memcmp(signature, key->key_id, KS_NOTE_KEY_ID_LEN) != 0)
		return LINE_OTHER;

	if (ks_base64_decode(base64.text, base64.len, signature, sizeof(signature)) != SIGNATURE_LEN ||
		!ks_note_verify_bytes(key, text.text, text.len, signature + KS_NOTE_KEY_ID_LEN))
		return LINE_BROKEN;
	return LINE_VALID;
}

/*
 * True when the note is well-formed and the key has signed it.  One false
 * signature of the key is enough to refuse the note, as c2sp.org/signed-note
 * asks.  Lines after the first KS_NOTE_SIGNATURES_MAX are not read.
 */
bool
ks_note_verify(const char *note, size_t len, const KsNoteKey *key)
{
	Piece		text,
				signatures,
				line;
	bool		valid = false;

	if (!split_note(note, len, &text, &signatures))
		return false;

	for (int i = 0; i < KS_NOTE_SIGNATURES_MAX && next_line(&signatures, &line); i++)
	{
		LineVerdict verdict = verify_line(line, text, key);

		if (verdict == LINE_BROKEN)
			return false;
		if (verdict == LINE_VALID)
			valid = true;
	}
	return valid;
}

/*
 * Signs bytes as they stand.  They must not begin like a checkpoint of the
 * key: the caller puts a text in front that is no origin.
 */
bool
ks_note_sign_bytes(const KsNoteSigner *signer, const void *data, size_t len,
				   uint8 signature[KS_ED25519_SIGNATURE_LEN])
{
	return ks_ed25519_sign(signer->seed, data, len, signature) == KS_CRYPTO_OK;
}

/*
 * True when the key has signed the bytes.
 */
bool
ks_note_verify_bytes(const KsNoteKey *key, const void *data, size_t len,
					 const uint8 signature[KS_ED25519_SIGNATURE_LEN])
{
	return ks_ed25519_verify(key->public_key, data, len, signature) == KS_CRYPTO_OK;
}

/*
 * The lines of a path, the empty line, and a note.
 */
static void
put_path_and_note(Writer *w, const KsHash *path, int npath, const char *note)
{
	/* both formats end at 63 hashes */
	if (npath < 0 || npath > KS_TREE_DEPTH_MAX)
	{
		w->full = true;
		return;
	}
	for (int i = 0; i < npath; i++)
	{
		put_base64(w, path[i].bytes, KS_DIGEST_LEN);
		put_text(w, "\n");
	}
	put_text(w, "\n");
	if (note != NULL)
		put_text(w, note);
}

/*
 * An inclusion proof as c2sp.org/tlog-proof@v1 has it, with a checkpoint.
 * Returns the length; 0 when it does not fit or the path is too long.
 */
size_t
ks_inclusion_format(uint64 index, const KsHash *path, int npath, const char *note,
					char *buf, size_t size)
{
	Writer		w = {.buf = buf, .size = size};

	put_text(&w, "c2sp.org/tlog-proof@v1\nindex ");
	put_number(&w, index);
	put_text(&w, "\n");
	put_path_and_note(&w, path, npath, note);
	return finish(&w);
}

/*
 * A consistency proof as a witness takes it; note may be NULL.  Returns the
 * length; 0 when it does not fit or the path is too long.
 */
size_t
ks_consistency_format(uint64 old_size, const KsHash *path, int npath, const char *note,
					  char *buf, size_t size)
{
	Writer		w = {.buf = buf, .size = size};

	put_text(&w, "old ");
	put_number(&w, old_size);
	put_text(&w, "\n");
	put_path_and_note(&w, path, npath, note);
	return finish(&w);
}

/*
 * Writes len bytes as base64 with padding, and a terminator.  Returns the
 * length of the text; 0 for no bytes, and when it does not fit.
 */
size_t
ks_base64_encode(const void *data, size_t len, char *buf, size_t size)
{
	const uint8 *bytes = data;
	char	   *out = buf;

	if (size == 0 || len / 3 + (len % 3 != 0) > (size - 1) / 4)
		return 0;

	for (size_t i = 0; i < len; i += 3)
	{
		size_t		left = len - i;
		uint32		group = (uint32) bytes[i] << 16;

		if (left > 1)
			group |= (uint32) bytes[i + 1] << 8;
		if (left > 2)
			group |= bytes[i + 2];
		*out++ = base64_digits[group >> 18];
		*out++ = base64_digits[(group >> 12) & 63];
		*out++ = left > 1 ? base64_digits[(group >> 6) & 63] : '=';
		*out++ = left > 2 ? base64_digits[group & 63] : '=';
	}
	*out = '\0';
	return (size_t) (out - buf);
}

/* Value of a base64 digit, -1 for another character. */
static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return -1;
}

/*
 * Reads base64.  Returns the number of bytes, written to buf unless that is
 * NULL; -1 when they are more than size, or when ks_base64_encode() would not
 * have written the text: padding that lacks or does not end it, white space,
 * bits behind the last byte.
 */
int
ks_base64_decode(const char *text, size_t len, void *buf, size_t size)
{
	uint8	   *out = buf;
	size_t		n = 0;

	if (len % 4 != 0 || len > INT32_MAX)
		return -1;

	for (size_t i = 0; i < len; i += 4)
	{
		bool		last = i + 4 == len;
		int			padding = !last || text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
		uint32		group = 0;

		for (int j = 0; j < 4 - padding; j++)
		{
			int			value = base64_value(text[i + (size_t) j]);

			if (value < 0)
				return -1;
			group |= (uint32) value << (18 - 6 * j);
		}
		if ((group & ((UINT32_C(1) << (8 * padding)) - 1)) != 0)
			return -1;

		for (int j = 0; j < 3 - padding; j++, n++)
		{
			if (n >= size)
				return -1;
			if (out != NULL)
				out[n] = (uint8) (group >> (16 - 8 * j));
		}
	}
	return (int) n;
}
