/*-------------------------------------------------------------------------
 *
 * ks_wire.c
 *	  Byte formats: the envelope, the additional authenticated data, padding,
 *	  and the text of a root keyring.
 *
 * Everything here is pure and allocates nothing.  What must always hold:
 *
 *	- no byte outside of the lengths given is read or written, whatever the
 *	  input: these parsers read bytes that somebody may have forged;
 *	- two different sequences of fields never make the same bytes;
 *	- a root keyring that is refused leaves no part of a key behind.
 *
 * ks_wire.h has the formats.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_wire.h"

#include "ks_mem.h"

#define FIELD_ABSENT	0x00
#define FIELD_PRESENT	0x01
#define FIELD_HEADER_LEN 5		/* presence byte and length */

#define PAD_MARK		0x80

#define KEY_DIGITS		(2 * KS_KEY_LEN)

static void
put_u32(uint8 *buf, uint32 value)
{
	buf[0] = (uint8) (value >> 24);
	buf[1] = (uint8) (value >> 16);
	buf[2] = (uint8) (value >> 8);
	buf[3] = (uint8) value;
}

static uint32
get_u32(const uint8 *buf)
{
	return ((uint32) buf[0] << 24) | ((uint32) buf[1] << 16) |
		((uint32) buf[2] << 8) | (uint32) buf[3];
}

/*
 * Splits len bytes at data, which the result points into.  False, with
 * *envelope zeroed, if they are too short, or of a format or algorithm that
 * is not known.
 */
bool
ks_envelope_parse(const void *data, size_t len, KsEnvelope *envelope)
{
	const uint8 *bytes = data;

	memset(envelope, 0, sizeof(*envelope));

	if (len < KS_ENVELOPE_OVERHEAD)
		return false;
	if (bytes[0] != KS_ENVELOPE_FORMAT || bytes[1] != KS_ALG_XAES_256_GCM)
		return false;

	envelope->algorithm = bytes[1];
	envelope->key_version = get_u32(bytes + 2);
	envelope->header = bytes;
	envelope->nonce = bytes + KS_ENVELOPE_HEADER_LEN;
	envelope->sealed = envelope->nonce + KS_NONCE_LEN;
	envelope->sealed_len = len - KS_ENVELOPE_HEADER_LEN - KS_NONCE_LEN;
	return true;
}

/*
 * Writes the header of a new envelope.
 */
void
ks_envelope_header(uint8 header[KS_ENVELOPE_HEADER_LEN], uint32 key_version)
{
	header[0] = KS_ENVELOPE_FORMAT;
	header[1] = KS_ALG_XAES_256_GCM;
	put_u32(header + 2, key_version);
}

/*
 * Length of a value of len bytes with its padding, which is at least one
 * byte.  len must be at least KS_PAD_BLOCK below SIZE_MAX.
 */
size_t
ks_padded_len(size_t len)
{
	Assert(len <= SIZE_MAX - KS_PAD_BLOCK);

	return (len / KS_PAD_BLOCK + 1) * KS_PAD_BLOCK;
}

/*
 * Fills buf[len .. ks_padded_len(len)) with padding.
 */
void
ks_pad(uint8 *buf, size_t len)
{
	size_t		padded_len = ks_padded_len(len);

	buf[len] = PAD_MARK;
	memset(buf + len + 1, 0, padded_len - len - 1);
}

/*
 * Finds the length of the value in padded bytes.  False, with *len zeroed, if
 * they end in anything but what ks_pad() writes.  Only authenticated bytes
 * come here, so that its time tells a forger nothing.
 */
bool
ks_unpad(const uint8 *buf, size_t padded_len, size_t *len)
{
	*len = 0;

	if (padded_len == 0 || padded_len % KS_PAD_BLOCK != 0)
		return false;

	/* the mark lies in the last block, or else there was a block too many */
	for (size_t zeros = 0; zeros < KS_PAD_BLOCK; zeros++)
	{
		uint8		byte = buf[padded_len - 1 - zeros];

		if (byte == PAD_MARK)
		{
			*len = padded_len - 1 - zeros;
			return true;
		}
		if (byte != 0)
			return false;
	}
	return false;
}

/*
 * Starts a sequence of fields in buf, size bytes, with its purpose.
 */
void
ks_fields_begin(KsFields *f, void *buf, size_t size, const char *purpose)
{
	f->buf = buf;
	f->len = 0;
	f->size = size;
	f->full = false;
	ks_fields_text(f, purpose);
}

/*
 * Adds a field of len bytes, which may be 0: empty is not absent.
 */
void
ks_fields_bytes(KsFields *f, const void *data, size_t len)
{
	size_t		room = f->size - f->len;

	if (f->full || len > UINT32_MAX || room < FIELD_HEADER_LEN || room - FIELD_HEADER_LEN < len)
	{
		f->full = true;
		return;
	}

	f->buf[f->len] = FIELD_PRESENT;
	put_u32(f->buf + f->len + 1, (uint32) len);
	f->len += FIELD_HEADER_LEN;
	if (len > 0)
		memcpy(f->buf + f->len, data, len);
	f->len += len;
}

/*
 * Adds a text without its terminator; NULL is an absent field.
 */
void
ks_fields_text(KsFields *f, const char *text)
{
	if (text != NULL)
		ks_fields_bytes(f, text, strlen(text));
	else
		ks_fields_absent(f);
}

/*
 * Adds a uuid; NULL is an absent field.
 */
void
ks_fields_uuid(KsFields *f, const uint8 *uuid)
{
	if (uuid != NULL)
		ks_fields_bytes(f, uuid, KS_ID_LEN);
	else
		ks_fields_absent(f);
}

/*
 * Adds an integer as four bytes, big-endian.
 */
void
ks_fields_u32(KsFields *f, uint32 value)
{
	uint8		bytes[4];

	put_u32(bytes, value);
	ks_fields_bytes(f, bytes, sizeof(bytes));
}

/*
 * Adds an integer as eight bytes, big-endian two's complement.
 */
void
ks_fields_i64(KsFields *f, int64 value)
{
	uint8		bytes[8];

	put_u32(bytes, (uint32) ((uint64) value >> 32));
	put_u32(bytes + 4, (uint32) (uint64) value);
	ks_fields_bytes(f, bytes, sizeof(bytes));
}

/*
 * Adds a field that is absent: one byte, no length.
 */
void
ks_fields_absent(KsFields *f)
{
	if (f->full || f->len >= f->size)
	{
		f->full = true;
		return;
	}
	f->buf[f->len++] = FIELD_ABSENT;
}

static bool
longer_than(const char *text, size_t max)
{
	return text != NULL && strlen(text) > max;
}

/*
 * Writes what a credential version's ciphertext is bound to.  header is that
 * of its envelope, so that algorithm and key version are bound as well.
 * Returns the length, or 0 if a text is longer than its limit in keystone.h.
 */
size_t
ks_address_aad(const KsAddress *address,
			   const uint8 header[KS_ENVELOPE_HEADER_LEN],
			   uint8 aad[KS_AAD_MAX])
{
	KsFields	f;

	if (longer_than(address->environment, KS_ENVIRONMENT_MAX) ||
		longer_than(address->name, KS_NAME_MAX) ||
		longer_than(address->kind, KS_KIND_MAX) ||
		longer_than(address->provider, KS_PROVIDER_MAX))
		return 0;

	ks_fields_begin(&f, aad, KS_AAD_MAX, KS_PURPOSE_CREDENTIAL);
	ks_fields_bytes(&f, header, KS_ENVELOPE_HEADER_LEN);
	ks_fields_uuid(&f, address->key_id);
	ks_fields_uuid(&f, address->workspace);
	ks_fields_uuid(&f, address->credential);
	ks_fields_u32(&f, address->version);
	ks_fields_text(&f, address->environment);
	ks_fields_uuid(&f, address->owner);
	ks_fields_text(&f, address->name);
	ks_fields_text(&f, address->kind);
	ks_fields_text(&f, address->provider);
	if (address->has_expiry)
		ks_fields_i64(&f, address->expires_at);
	else
		ks_fields_absent(&f);
	ks_fields_bytes(&f, address->metadata_digest, KS_DIGEST_LEN);

	return f.full ? 0 : f.len;
}

/* A part of a line of a root keyring. */
typedef struct Token
{
	const char *text;
	size_t		len;
} Token;

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * Cuts the next line, without its end (LF or CR LF), off *text.
 */
static Token
next_line(const char **text, size_t *len)
{
	const char *end = memchr(*text, '\n', *len);
	Token		line;

	line.text = *text;
	line.len = end != NULL ? (size_t) (end - *text) : *len;

	*text += line.len;
	*len -= line.len;
	if (end != NULL)
	{
		(*text)++;
		(*len)--;
	}
	if (line.len > 0 && line.text[line.len - 1] == '\r')
		line.len--;
	return line;
}

/*
 * Cuts the next token off a line; its length is 0 when there is none.
 */
static Token
next_token(Token *line)
{
	Token		token;

	while (line->len > 0 && is_blank(line->text[0]))
	{
		line->text++;
		line->len--;
	}
	token.text = line->text;
	token.len = 0;
	while (token.len < line->len && !is_blank(token.text[token.len]))
		token.len++;
	line->text += token.len;
	line->len -= token.len;
	return token;
}

static const char *
parse_root_key_id(Token token, char id[KS_ROOT_KEY_ID_MAX + 1])
{
	for (size_t i = 0; i < token.len; i++)
	{
		char		c = token.text[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			  (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
			return "the id on the line has characters other than letters, digits, \".\", \"_\" and \"-\"";
	}
	if (token.len > KS_ROOT_KEY_ID_MAX)
		return "the id on the line is longer than 63 characters";

	memcpy(id, token.text, token.len);
	id[token.len] = '\0';
	return NULL;
}

/*
 * Value of a hexadecimal digit, or -1.
 */
static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * True for a key that somebody typed rather than drew: a pattern that repeats
 * every 1, 2, 4, 8 or 16 bytes, or bytes that rise or fall by the same step.
 * A random key is one of them with a probability of about 2^-128.
 */
static bool
is_patterned(const uint8 key[KS_KEY_LEN])
{
	uint8		step = (uint8) (key[1] - key[0]);
	bool		repeats = true;
	bool		climbs = true;

	/* what repeats after 1, 2, 4 or 8 bytes does so after 16 too */
	for (int i = 16; i < KS_KEY_LEN; i++)
		repeats &= key[i] == key[i - 16];
	for (int i = 1; i < KS_KEY_LEN; i++)
		climbs &= key[i] == (uint8) (key[i - 1] + step);

	return repeats || climbs;
}

static const char *
parse_root_key(Token token, uint8 key[KS_KEY_LEN])
{
	for (size_t i = 0; i < token.len; i++)
	{
		if (hex_value(token.text[i]) < 0)
			return "the key on the line has characters other than hexadecimal digits";
	}
	if (token.len < KEY_DIGITS)
		return "the key on the line is shorter than 64 hexadecimal digits";
	if (token.len > KEY_DIGITS)
		return "the key on the line is longer than 64 hexadecimal digits";

	for (int i = 0; i < KS_KEY_LEN; i++)
		key[i] = (uint8) (hex_value(token.text[2 * i]) << 4 | hex_value(token.text[2 * i + 1]));

	if (is_patterned(key))
		return "the key on the line is a pattern, not random";
	return NULL;
}

/*
 * Parses one line, neither blank nor a comment, into keys[nkeys].
 */
static const char *
parse_root_key_line(Token line, KsRootKey keys[KS_ROOT_KEYS_MAX], int nkeys)
{
	Token		id = next_token(&line);
	Token		key = next_token(&line);
	Token		rest = next_token(&line);
	const char *problem;

	problem = parse_root_key_id(id, keys[nkeys].id);
	if (problem == NULL && key.len == 0)
		problem = "the line has no key after the id";
	if (problem == NULL)
		problem = parse_root_key(key, keys[nkeys].key);
	if (problem == NULL && rest.len > 0)
		problem = "the line has text after the key";
	if (problem != NULL)
		return problem;

	for (int i = 0; i < nkeys; i++)
	{
		if (strcmp(keys[i].id, keys[nkeys].id) == 0)
			return "the id on the line is on an earlier line too";
		if (ks_equal(keys[i].key, keys[nkeys].key, KS_KEY_LEN))
			return "the key on the line is on an earlier line too";
	}
	return NULL;
}

/*
 * Parses the text of a root keyring.  Blanks around the parts of a line do no
 * harm.  Returns NULL, and then keys[0 .. *nkeys) are the caller's to wipe; or
 * a constant phrase, and then all of keys is wiped.  The phrase never shows
 * what stands in the text.
 */
const char *
ks_root_keyring_parse(const char *text, size_t len,
					  KsRootKey keys[KS_ROOT_KEYS_MAX],
					  int *nkeys, int *line)
{
	const char *problem = NULL;
	int			number = 0;
	int			n = 0;

	ks_wipe(keys, sizeof(KsRootKey) * KS_ROOT_KEYS_MAX);
	*nkeys = 0;
	*line = 0;

	/* no longer than this, the number of a line fits an int too */
	if (len > KS_ROOT_KEYRING_BYTES_MAX)
		return "the keyring is longer than 8192 bytes";

	while (len > 0 && problem == NULL)
	{
		Token		content = next_line(&text, &len);
		Token		rest = content;
		Token		first = next_token(&rest);

		number++;
		if (first.len == 0 || first.text[0] == '#')
			continue;

		if (n == KS_ROOT_KEYS_MAX)
			problem = "the keyring has more than 16 keys";
		else
			problem = parse_root_key_line(content, keys, n++);
	}

	if (problem == NULL && n == 0)
	{
		number = 0;
		problem = "the keyring has no key";
	}
	if (problem != NULL)
	{
		ks_wipe(keys, sizeof(KsRootKey) * KS_ROOT_KEYS_MAX);
		*line = number;
		return problem;
	}

	*nkeys = n;
	return NULL;
}
