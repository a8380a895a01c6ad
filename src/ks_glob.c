/*-------------------------------------------------------------------------
 *
 * ks_glob.c
 *	  Patterns of policy documents.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_compat.h"

#include "ks_glob.h"

void
ks_glob_read(const char *pattern, KsGlob *glob)
{
	glob->pattern = pattern;
	glob->len = strlen(pattern);
	glob->literal = memchr(pattern, '*', glob->len) == NULL;
	glob->any = strcmp(pattern, "*") == 0 || strcmp(pattern, "**") == 0;
}

/*
 * Two pointers, and for each kind of star the place to go back to.  The first
 * text that fits what follows a star is as good as any later one, because the
 * next star of the same kind, or of the wider one, then reaches all that it
 * could reach from there.  So a "*" forgets the one before it, and a "**" all.
 *
 * What a "*" behind a "**" could not do from here, it cannot do from further
 * on in the same segment either: up to the next "/" the candidates differ in
 * nothing that is still to come.  That keeps the work from being cubic.
 */
typedef struct Back
{
	const char *pattern;		/* behind the star; NULL: there is none */
	const char *string;			/* where what follows the star was tried */
} Back;

/* Moves on what follows a "*" by one byte; false when a "/" or the end is in
 * its way. */
static bool
widen_star(Back *star, const char *end)
{
	if (star->pattern == NULL || star->string == end || *star->string == '/')
		return false;
	star->string++;
	return true;
}

/* Moves on what follows a "**": by one byte, or, after a "*" behind it failed,
 * to the next "/". */
static bool
widen_double_star(Back *star, bool segment, const char *end)
{
	if (star->pattern == NULL || star->string == end)
		return false;
	star->string++;
	if (segment)
	{
		star->string = memchr(star->string, '/', (size_t) (end - star->string));
		if (star->string == NULL)
			return false;
	}
	return true;
}

static const char *
skip_stars(const char *p, const char *p_end)
{
	while (p < p_end && *p == '*')
		p++;
	return p;
}

static bool
match_stars(const KsGlob *glob, const char *s, const char *end)
{
	const char *p = glob->pattern;
	const char *p_end = p + glob->len;
	Back		star = {NULL, NULL};
	Back		double_star = {NULL, NULL};

	while (s < end || p < p_end)
	{
		if (p < p_end && *p == '*')
		{
			const char *behind = skip_stars(p, p_end);
			Back	   *back = behind - p > 1 ? &double_star : &star;

			if (back == &double_star)
				star.pattern = NULL;
			p = back->pattern = behind;
			back->string = s;
		}
		else if (p < p_end && s < end && *p == *s)
		{
			p++;
			s++;
		}
		else if (widen_star(&star, end))
		{
			p = star.pattern;
			s = star.string;
		}
		else if (widen_double_star(&double_star, star.pattern != NULL, end))
		{
			star.pattern = NULL;
			p = double_star.pattern;
			s = double_star.string;
		}
		else
			return false;
	}
	return true;
}

bool
ks_glob_match(const KsGlob *glob, const char *string, size_t len)
{
	if (glob->literal)
		return glob->len == len && memcmp(glob->pattern, string, len) == 0;
	return match_stars(glob, string, string + len);
}

bool
ks_glob_list_match(const KsGlobList *list, const char *string)
{
	size_t		len = string != NULL ? strlen(string) : 0;

	if (list->n == 0)
		return true;
	for (int i = 0; i < list->n; i++)
	{
		if (string == NULL ? list->globs[i].any : ks_glob_match(&list->globs[i], string, len))
			return true;
	}
	return false;
}
