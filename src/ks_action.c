/*-------------------------------------------------------------------------
 *
 * ks_action.c
 *	  Kinds of audit entries and the names of the actions that they stand for.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_action.h"

/*
 * Name of the action, a constant.  NULL for a number that is none.
 */
const char *
ks_action_name(uint16 kind)
{
	/* a number that stands there twice does not compile */
	switch (kind)
	{
#define ACTION_CASE(number, name, text) case number: return text;
			KS_ACTIONS(ACTION_CASE)
#undef ACTION_CASE
		default:
			return NULL;
	}
}

/*
 * True for the actions that store a value under a new number.  Others say
 * which version they are about, or none.
 */
bool
ks_action_makes_version(uint16 kind)
{
	switch (kind)
	{
		case KS_ACTION_CREDENTIAL_CREATE:
		case KS_ACTION_CREDENTIAL_ROTATE:
		case KS_ACTION_CREDENTIAL_ROLLBACK:
			return true;
		default:
			return false;
	}
}
