/*-------------------------------------------------------------------------
 *
 * ks_action.h
 *	  Kinds of audit entries and the names of the actions that they stand for.
 *
 * The numbers are part of the log's format: they are added to, never changed.
 * docs/audit.md has the same table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ACTION_H
#define KS_ACTION_H

#include "ks_compat.h"

/* number, C name, SQL name */
#define KS_ACTIONS(X) \
	X(0x0001, LOG_EPOCH, "log.epoch") \
	X(0x0002, LOG_TICK, "log.tick") \
	X(0x0003, LOG_KEY, "log.key") \
	X(0x0004, LOG_PRUNE, "log.prune") \
	X(0x0005, LOG_ERASE, "log.erase") \
	X(0x0006, LOG_CONFIG, "log.config") \
	X(0x0007, LOG_WORKSPACE_SEAL, "log.workspace_seal") \
	X(0x0008, LOG_LOSS, "log.loss") \
	X(0x0010, CREDENTIAL_CREATE, "credential.create") \
	X(0x0011, CREDENTIAL_UPDATE, "credential.update") \
	X(0x0012, CREDENTIAL_ROTATE, "credential.rotate") \
	X(0x0013, CREDENTIAL_DELETE, "credential.delete") \
	X(0x0014, GRANT_ADD, "grant.add") \
	X(0x0015, GRANT_REVOKE, "grant.revoke") \
	X(0x0016, CREDENTIAL_RENAME, "credential.rename") \
	X(0x0017, CREDENTIAL_RESTORE, "credential.restore") \
	X(0x0018, CREDENTIAL_DESTROY, "credential.destroy") \
	X(0x0019, CREDENTIAL_DESTROY_VERSION, "credential.destroy_version") \
	X(0x001a, CREDENTIAL_PROMOTE, "credential.promote") \
	X(0x001b, CREDENTIAL_ROLLBACK, "credential.rollback") \
	X(0x001c, CREDENTIAL_VERIFY, "credential.verify") \
	X(0x001d, CREDENTIAL_SHARE, "credential.share") \
	X(0x001e, CREDENTIAL_UNSHARE, "credential.unshare") \
	X(0x001f, CREDENTIAL_EXPIRE, "credential.expire") \
	X(0x0020, CREDENTIAL_REVEAL, "credential.reveal") \
	X(0x0021, DENIALS, "denials") \
	X(0x0022, DECRYPT, "decrypt") \
	X(0x0030, WORKSPACE_CREATE, "workspace.create") \
	X(0x0031, WORKSPACE_UPDATE, "workspace.update") \
	X(0x0032, WORKSPACE_OFFBOARD, "workspace.offboard") \
	X(0x0033, MEMBER_ADD, "member.add") \
	X(0x0034, MEMBER_ROLE, "member.role") \
	X(0x0035, MEMBER_REMOVE, "member.remove") \
	X(0x0036, PRINCIPAL_CREATE, "principal.create") \
	X(0x0037, PRINCIPAL_UPDATE, "principal.update") \
	X(0x0038, PRINCIPAL_DISABLE, "principal.disable") \
	X(0x0039, PRINCIPAL_ENABLE, "principal.enable") \
	X(0x003a, PROVIDER_DEFINE, "provider.define") \
	X(0x003b, PROVIDER_CONFIGURE, "provider.configure") \
	X(0x003c, MEMBER_INVITE, "member.invite") \
	X(0x003d, MEMBER_UNINVITE, "member.uninvite") \
	X(0x003e, WORKSPACE_PURGE, "workspace.purge") \
	X(0x003f, MEMBER_ACCEPT, "member.accept") \
	X(0x0040, KEY_CREATE, "key.create") \
	X(0x0041, KEY_ROTATE, "key.rotate") \
	X(0x0042, KEY_REWRAP, "key.rewrap") \
	X(0x0043, KEY_SHRED, "key.shred") \
	X(0x0044, KMS_SET, "kms.set") \
	X(0x0045, KMS_CLEAR, "kms.clear") \
	X(0x0046, KEY_EXPORT, "key.export") \
	X(0x0047, KEY_IMPORT, "key.import") \
	X(0x0048, KEY_REENCRYPT, "key.reencrypt") \
	X(0x0049, KMS_FAIL, "kms.fail") \
	X(0x004a, ENCRYPT, "encrypt") \
	X(0x0050, POLICY_PUT, "policy.put") \
	X(0x0051, POLICY_DROP, "policy.drop") \
	X(0x0052, APPROVAL_REQUEST, "approval.request") \
	X(0x0053, APPROVAL_APPROVE, "approval.approve") \
	X(0x0054, APPROVAL_CLAIM, "approval.claim") \
	X(0x0055, APPROVAL_REJECT, "approval.reject") \
	X(0x0056, APPROVAL_CANCEL, "approval.cancel") \
	X(0x0057, APPROVAL_COMPLETE, "approval.complete") \
	X(0x0058, APPROVAL_ESCALATE, "approval.escalate") \
	X(0x0059, APPROVAL_EXPIRE, "approval.expire") \
	X(0x005a, APPROVAL_BREAK_GLASS, "approval.break_glass") \
	X(0x005b, APPROVAL_REVIEW, "approval.review") \
	X(0x005c, CREDENTIAL_PREVIEW, "credential.preview") \
	X(0x005d, APPROVAL_SUPERSEDE, "approval.supersede") \
	X(0x0060, TABLE_INSERT, "table.insert") \
	X(0x0061, TABLE_UPDATE, "table.update") \
	X(0x0062, TABLE_DELETE, "table.delete") \
	X(0x0063, TABLE_TRUNCATE, "table.truncate") \
	X(0x0064, TABLE_AUDIT, "table.audit") \
	X(0x0065, TABLE_UNAUDIT, "table.unaudit") \
	X(0x0070, AUDIT_VERIFY, "audit.verify") \
	X(0x0071, AUDIT_EXPORT, "audit.export") \
	X(0x0072, AUDIT_CHECKPOINT, "audit.checkpoint") \
	X(0x0073, AUDIT_RESTORE, "audit.restore") \
	X(0x0074, AUDIT_RECONCILE, "audit.reconcile") \
	X(0x0080, AUTH_FAIL, "auth.fail") \
	X(0x0081, APIKEY_CREATE, "apikey.create") \
	X(0x0082, APIKEY_REVOKE, "apikey.revoke") \
	X(0x0083, APIKEY_ROTATE, "apikey.rotate") \
	X(0x0090, LIMIT_DEFINE, "limit.define") \
	X(0x0091, LIMIT_DROP, "limit.drop") \
	X(0x0092, LIMIT_BLOCK, "limit.block") \
	X(0x0093, LIMIT_UNBLOCK, "limit.unblock") \
	X(0x0094, LIMIT_NEAR, "limit.near") \
	X(0x0095, PLAN_CHANGE, "plan.change") \
	X(0x0096, BUDGET_SET, "budget.set") \
	X(0x0097, USAGE_RECORD, "usage.record") \
	X(0x0098, QUOTA_CONSUME, "quota.consume") \
	X(0x0099, PERIOD_CLOSE, "period.close") \
	X(0x009a, LIMIT_CONSUME, "limit.consume") \
	X(0x009b, LIMIT_REFUND, "limit.refund")

typedef enum KsAction
{
#define KS_ACTION_ENUM(number, name, text) KS_ACTION_##name = number,
	KS_ACTIONS(KS_ACTION_ENUM)
#undef KS_ACTION_ENUM
} KsAction;

/* The action's name, NULL for a number that this version does not know. */
extern const char *ks_action_name(uint16 kind);

/* Whether entries of this kind make a new version of their object, so that
 * versions of one object must be contiguous over them. */
extern bool ks_action_makes_version(uint16 kind);

#endif							/* KS_ACTION_H */
