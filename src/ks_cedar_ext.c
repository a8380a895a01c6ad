/*-------------------------------------------------------------------------
 *
 * ks_cedar_ext.c
 *	  The extension types of the policy language Cedar.
 *
 * The forms of the texts are those of the language's documentation: stricter
 * than the server's own types, so that one text is read alike everywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "common/int.h"
#include "utils/datetime.h"

#include "ks_cedar_ext.h"

#define IP_TEXT_MAX			43	/* an address of IPv6 in full and its prefix */
#define IP_GROUP_MAX		4	/* digits between the colons of IPv6 */
#define DECIMAL_PLACES		4
#define MS_PER_SECOND		INT64CONST(1000)
#define MS_PER_MINUTE		(60 * MS_PER_SECOND)
#define MS_PER_HOUR			(60 * MS_PER_MINUTE)
#define MS_PER_DAY			(24 * MS_PER_HOUR)

/* What is left of a text. */
typedef struct Reader
{
	const char *at;
	const char *end;
} Reader;

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Whether the next character is this one, which is then taken. */
static bool
take(Reader *reader, char c)
{
	if (reader->at == reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

/* Takes exactly n digits. */
static bool
take_number(Reader *reader, int n, int *number)
{
	*number = 0;
	if (reader->end - reader->at < n)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (!is_digit(*reader->at))
			return false;
		*number = *number * 10 + (*reader->at++ - '0');
	}
	return true;
}

/*
 * Takes all digits that come next, of which there must be one; below zero when
 * negative, so that the least number of 64 bits can be read.
 */
static bool
take_digits(Reader *reader, bool negative, int64 *number)
{
	const char *begin = reader->at;

	*number = 0;
	while (reader->at < reader->end && is_digit(*reader->at))
	{
		int			digit = *reader->at++ - '0';

		if (pg_mul_s64_overflow(*number, 10, number) ||
			pg_add_s64_overflow(*number, negative ? -digit : digit, number))
			return false;
	}
	return reader->at > begin;
}

/* Addresses */

/* The prefix behind the slash, without leading zeros. */
static bool
read_prefix(const char *text, int max, uint8 *prefix)
{
	Reader		reader = {text, text + strlen(text)};
	int64		number;

	if (text[0] == '0' && text[1] != '\0')
		return false;
	if (!take_digits(&reader, false, &number) || reader.at != reader.end || number > max)
		return false;
	*prefix = (uint8) number;
	return true;
}

/* Libraries differ on groups with more digits than an address needs. */
static bool
has_long_group(const char *text)
{
	size_t		digits = 0;

	for (; *text != '\0'; text++)
	{
		digits = *text == ':' ? 0 : digits + 1;
		if (digits > IP_GROUP_MAX)
			return true;
	}
	return false;
}

bool
ks_cedar_read_ip(const char *text, size_t len, KsCedarIp *ip)
{
	char		buffer[IP_TEXT_MAX + 1];
	char	   *slash;
	int			max;

	if (len > IP_TEXT_MAX || memchr(text, '\0', len) != NULL)
		return false;
	memcpy(buffer, text, len);
	buffer[len] = '\0';
	slash = strchr(buffer, '/');
	if (slash != NULL)
		*slash = '\0';

	memset(ip, 0, sizeof(*ip));
	ip->v6 = strchr(buffer, ':') != NULL;
	max = ip->v6 ? 128 : 32;
	/* An address of IPv4 inside one of IPv6 would have two forms. */
	if (ip->v6 && (strchr(buffer, '.') != NULL || has_long_group(buffer)))
		return false;
	if (inet_pton(ip->v6 ? AF_INET6 : AF_INET, buffer, ip->address) != 1)
		return false;
	ip->prefix = (uint8) max;
	return slash == NULL || read_prefix(slash + 1, max, &ip->prefix);
}

bool
ks_cedar_ip_is_loopback(const KsCedarIp *ip)
{
	static const uint8 loopback[16] = {[15] = 1};

	if (ip->v6)
		return memcmp(ip->address, loopback, sizeof(loopback)) == 0 && ip->prefix == 128;
	return ip->address[0] == 127 && ip->prefix >= 8;
}

bool
ks_cedar_ip_is_multicast(const KsCedarIp *ip)
{
	if (ip->v6)
		return ip->address[0] == 0xff && ip->prefix >= 8;
	return (ip->address[0] & 0xf0) == 0xe0 && ip->prefix >= 4;
}

bool
ks_cedar_ip_is_in_range(const KsCedarIp *ip, const KsCedarIp *range)
{
	int			bytes = range->prefix / 8;
	int			mask = 0xff00 >> (range->prefix % 8);

	if (ip->v6 != range->v6 || ip->prefix < range->prefix ||
		memcmp(ip->address, range->address, bytes) != 0)
		return false;
	return range->prefix % 8 == 0 || ((ip->address[bytes] ^ range->address[bytes]) & mask & 0xff) == 0;
}

int
ks_cedar_ip_compare(const KsCedarIp *a, const KsCedarIp *b)
{
	if (a->v6 != b->v6)
		return a->v6 ? 1 : -1;
	if (a->prefix != b->prefix)
		return a->prefix > b->prefix ? 1 : -1;
	return memcmp(a->address, b->address, sizeof(a->address));
}

/* Decimals */

bool
ks_cedar_read_decimal(const char *text, size_t len, int64 *decimal)
{
	Reader		reader = {text, text + len};
	bool		negative = take(&reader, '-');
	const char *places;
	int64		fraction;

	if (!take_digits(&reader, negative, decimal) || !take(&reader, '.'))
		return false;
	places = reader.at;
	if (!take_digits(&reader, negative, &fraction) || reader.at != reader.end ||
		reader.at - places > DECIMAL_PLACES)
		return false;
	for (ptrdiff_t i = reader.at - places; i < DECIMAL_PLACES; i++)
		fraction *= 10;
	for (int i = 0; i < DECIMAL_PLACES; i++)
	{
		if (pg_mul_s64_overflow(*decimal, 10, decimal))
			return false;
	}
	return !pg_add_s64_overflow(*decimal, fraction, decimal);
}

/* Durations */

bool
ks_cedar_read_duration(const char *text, size_t len, int64 *duration)
{
	/* In the order in which they may come, each at most once. */
	static const struct
	{
		const char *name;
		int64		ms;
	}			units[] = {{"d", MS_PER_DAY}, {"h", MS_PER_HOUR}, {"m", MS_PER_MINUTE}, {"s", MS_PER_SECOND}, {"ms", 1}};
	Reader		reader = {text, text + len};
	bool		negative = take(&reader, '-');
	size_t		unit = 0;

	*duration = 0;
	if (reader.at == reader.end)
		return false;
	while (reader.at < reader.end)
	{
		const char *name;
		size_t		name_len;
		int64		number;

		if (!take_digits(&reader, negative, &number))
			return false;
		name = reader.at;
		while (reader.at < reader.end && !is_digit(*reader.at))
			reader.at++;
		name_len = reader.at - name;
		while (unit < lengthof(units) &&
			   (strlen(units[unit].name) != name_len || memcmp(units[unit].name, name, name_len) != 0))
			unit++;
		if (unit == lengthof(units) ||
			pg_mul_s64_overflow(number, units[unit++].ms, &number) ||
			pg_add_s64_overflow(*duration, number, duration))
			return false;
	}
	return true;
}

/* Times */

/* YYYY-MM-DD, as milliseconds. */
static bool
read_date(Reader *reader, int64 *datetime)
{
	int			year;
	int			month;
	int			day;

	if (!take_number(reader, 4, &year) || !take(reader, '-') ||
		!take_number(reader, 2, &month) || !take(reader, '-') ||
		!take_number(reader, 2, &day))
		return false;
	if (month < 1 || month > MONTHS_PER_YEAR || day < 1 || day > day_tab[isleap(year)][month - 1])
		return false;
	*datetime = (int64) (date2j(year, month, day) - UNIX_EPOCH_JDATE) * MS_PER_DAY;
	return true;
}

/* What behind the time says how far it is from UTC: Z, or + or - and hhmm. */
static bool
read_offset(Reader *reader, int64 *offset)
{
	bool		west;
	int			hour;
	int			minute;

	*offset = 0;
	if (take(reader, 'Z'))
		return true;
	west = take(reader, '-');
	if (!west && !take(reader, '+'))
		return false;
	if (!take_number(reader, 2, &hour) || !take_number(reader, 2, &minute) || hour > 23 || minute > 59)
		return false;
	*offset = hour * MS_PER_HOUR + minute * MS_PER_MINUTE;
	if (west)
		*offset = -*offset;
	return true;
}

/* Thh:mm:ss, maybe .SSS, and the offset. */
bool
ks_cedar_read_datetime(const char *text, size_t len, int64 *datetime)
{
	Reader		reader = {text, text + len};
	int			hour;
	int			minute;
	int			second;
	int			ms = 0;
	int64		offset;

	if (!read_date(&reader, datetime))
		return false;
	if (reader.at == reader.end)
		return true;
	if (!take(&reader, 'T') || !take_number(&reader, 2, &hour) || !take(&reader, ':') ||
		!take_number(&reader, 2, &minute) || !take(&reader, ':') || !take_number(&reader, 2, &second))
		return false;
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	if (take(&reader, '.') && !take_number(&reader, 3, &ms))
		return false;
	if (!read_offset(&reader, &offset) || reader.at != reader.end)
		return false;
	*datetime += hour * MS_PER_HOUR + minute * MS_PER_MINUTE + second * MS_PER_SECOND + ms - offset;
	return true;
}

int64
ks_cedar_to_time(int64 datetime)
{
	int64		time = datetime % MS_PER_DAY;

	return time < 0 ? time + MS_PER_DAY : time;
}

bool
ks_cedar_to_date(int64 datetime, int64 *date)
{
	return !pg_sub_s64_overflow(datetime, ks_cedar_to_time(datetime), date);
}
