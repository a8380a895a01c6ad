#include "ks_hooks.h"
#define ks_redact_mark ks_hooks_mark_secret
