"""What the audit log's actions are called on pages."""

from operator import itemgetter

from ams.audit.v1.events_pb2 import AuditRecord

# By action; what somebody registers as, for the sign-in that completes it. Each with its colour.
_NEWS = {
    "access.request": ("Access requested", "warn"),
    "access.approve": ("Access approved", "good"),
    "access.deny": ("Access denied", "bad"),
    "access.end": ("Access ended", "bad"),
    "access.withdraw": ("Access request withdrawn", "plain"),
    "alert_rule.create": ("Alert created", "plain"),
    "alert_rule.delete": ("Alert deleted", "plain"),
    "admin.appoint": ("Admin appointed", "info"),
    "admin.dismiss": ("Admin dismissed", "bad"),
    "admin.join": ("Admin joined", "info"),
    "audit.purge": ("Audit records deleted by age", "plain"),
    "commission_rate.create": ("Commission set", "info"),
    "consumer.set_exposure_choice": ("Choice about found keys made", "plain"),
    "consumer.set_spend_cap": ("Spend cap set", "plain"),
    "consumer.block": ("Consumer blocked", "bad"),
    "consumer.unblock": ("Consumer unblocked", "good"),
    "dead_letter.dismiss": ("Dead letter dismissed", "warn"),
    "dead_letter.replay": ("Dead letter replayed", "info"),
    "image.push": ("Image pushed", "info"),
    "image.reject": ("Image refused", "bad"),
    "image.deprecate": ("Image deprecated", "warn"),
    "image.delete": ("Image deleted", "bad"),
    "invite.create": ("Invited", "info"),
    "invite.resend": ("Invite sent again", "plain"),
    "invite.revoke": ("Invite revoked", "warn"),
    "invoice.credit": ("Credit note made", "warn"),
    "invoice.issue": ("Invoices issued", "info"),
    "invoice.mark_paid": ("Invoice paid", "good"),
    "invoice.send": ("Invoice sent", "plain"),
    "invoice.void": ("Invoice voided", "bad"),
    "key.create": ("Key created", "info"),
    "key.update": ("Key renamed", "plain"),
    "key.set_services": ("Services of a key set", "plain"),
    "key.set_allowed_networks": ("Networks of a key set", "plain"),
    "key.set_allowed_calls": ("Calls of a key set", "plain"),
    "key.set_spend_cap": ("Spend cap of a key set", "plain"),
    "key.disable": ("Key disabled", "warn"),
    "key.enable": ("Key enabled", "good"),
    "key.rotate": ("Key rotated", "info"),
    "key.end_previous_secret": ("Overlap of a key ended", "plain"),
    "key.report_exposure": ("Key found in public", "bad"),
    "key.revoke": ("Key revoked", "bad"),
    "merchant.suspend": ("Merchant suspended", "bad"),
    "merchant.reinstate": ("Merchant reinstated", "good"),
    "merchant_profile.delete_logo": ("Logo deleted", "plain"),
    "merchant_profile.set_logo": ("Logo changed", "plain"),
    "merchant_profile.update": ("Merchant's profile changed", "plain"),
    "platform_settings.update": ("Platform settings changed", "warn"),
    "price.cancel": ("Price canceled", "warn"),
    "price.schedule": ("Price announced", "info"),
    "project.create": ("Project created", "info"),
    "project.set_spend_cap": ("Spend cap of a project set", "plain"),
    "project.update": ("Project changed", "plain"),
    "project.invite": ("Invited to a project", "info"),
    "project.resend_invitation": ("Invitation to a project sent again", "plain"),
    "project.revoke_invitation": ("Invitation to a project revoked", "warn"),
    "project.accept_invitation": ("Project joined", "good"),
    "project.decline_invitation": ("Invitation to a project declined", "plain"),
    "project.update_member": ("Member of a project changed", "plain"),
    "project.remove_member": ("Member of a project removed", "bad"),
    "project.leave": ("Project left", "plain"),
    "project.offer": ("Project offered to a member", "info"),
    "project.withdraw_offer": ("Offer of a project withdrawn", "plain"),
    "project.accept_offer": ("Project handed over", "info"),
    "project.decline_offer": ("Offer of a project declined", "plain"),
    "project.close": ("Project closed", "bad"),
    "push_token.create": ("Push token created", "info"),
    "push_token.revoke": ("Push token revoked", "bad"),
    "register_consumer": ("Consumer registered", "good"),
    "register_merchant": ("Merchant registered", "good"),
    "report.create": ("Report asked for", "plain"),
    "report.delete": ("Report deleted", "plain"),
    "report.share": ("Report shared", "info"),
    "revision.approve": ("Change of a service approved", "good"),
    "revision.reject": ("Change of a service rejected", "bad"),
    "revision.withdraw": ("Change of a service withdrawn", "plain"),
    "service.accept_invitation": ("Invitation to a service accepted", "plain"),
    "service.create": ("Service created", "plain"),
    "service.invite": ("Invitation to a service made", "plain"),
    "service.reinstate": ("Service reinstated", "good"),
    "service.retire": ("Service retired", "warn"),
    "service.revoke_invitation": ("Invitation to a service revoked", "plain"),
    "service.suspend": ("Service suspended", "bad"),
    "service.withdraw": ("Service withdrawn", "warn"),
    "service.update": ("Service changed", "plain"),
    "service.submit": ("Service submitted", "warn"),
    "service.approve": ("Service approved", "good"),
    "service.reject": ("Service rejected", "bad"),
    "service.set_access_policy": ("Deciders of access set", "info"),
    "service_consumer.block": ("Consumer of a service blocked", "bad"),
    "service_consumer.unblock": ("Consumer of a service unblocked", "good"),
    "service_consumer.set_limits": ("Limits of a consumer set", "plain"),
    "service_key.revoke": ("Key revoked for a service", "bad"),
    "service.rotate_signing_key": ("Signing key made", "info"),
    "service.use_signing_key": ("Next signing key used", "info"),
    "service.set_openapi_document": ("OpenAPI document attached", "plain"),
    "service.delete_openapi_document": ("OpenAPI document removed", "plain"),
    "service.set_upstream_credential": ("Upstream credential set", "info"),
}
# These come with every sign-in, renewal and pull: among news they would hide the rest.
_NOISE = {
    "alerts.mark_read": ("Alerts read", "plain"),
    "consumer.register_start": ("Registration begun", "plain"),
    "merchant.register_start": ("Registration begun", "plain"),
    "image.pull": ("Image pulled", "plain"),
    "image.pull_refused": ("Pull refused", "bad"),
    "notifications.choose": ("Notifications chosen", "plain"),
    "notifications.mark_all_read": ("Notifications read", "plain"),
    "notifications.mark_read": ("Notifications read", "plain"),
    "notifications.unsubscribe": ("Mails of a kind turned off", "plain"),
    "profile.delete_picture": ("Picture deleted", "plain"),
    "profile.set_picture": ("Picture changed", "plain"),
    "profile.update": ("Name changed", "plain"),
    "second_factor.add": ("Second factor added", "info"),
    "second_factor.make_recovery_codes": ("Recovery codes made", "info"),
    "second_factor.prove": ("Second factor proved", "plain"),
    "second_factor.remove": ("Second factor removed", "bad"),
    "second_factor.start": ("Second factor begun", "plain"),
    "session.refresh": ("Session renewed", "plain"),
    "session.sign_out": ("Signed out", "plain"),
    "session.end": ("Session ended", "plain"),
    "session.end_others": ("Other sessions ended", "plain"),
    "token.create": ("Access token made", "info"),
    "token.revoke": ("Access token revoked", "bad"),
    "token.trade": ("Access token used", "plain"),
    "sign_in.start": ("Code asked for", "plain"),
    "sign_in.complete": ("Signed in", "plain"),
    "sign_in.oidc": ("Signed in", "plain"),
    "sign_in.second_factor": ("Signed in", "plain"),
}
WORDS = _NEWS | _NOISE

# The kinds of things that records are about, by their words: for a select.
KINDS = (
    ("access_request", "Access request"),
    ("alert_rule", "Alert"),
    ("audit_log", "Audit log"),
    ("challenge", "Code"),
    ("commission_rate", "Commission"),
    ("consumer", "Consumer"),
    ("dead_letter", "Dead letter"),
    ("image", "Image"),
    ("invite", "Invite"),
    ("invoice", "Invoice"),
    ("invoice_run", "Invoice run"),
    ("key", "Key"),
    ("merchant", "Merchant"),
    ("platform_settings", "Platform settings"),
    ("project", "Project"),
    ("push_token", "Push token"),
    ("report", "Report"),
    ("service", "Service"),
    ("session", "Session"),
    ("signing_key", "Signing key"),
    ("user", "User"),
)


def audit_words(record: AuditRecord) -> tuple[str, str]:
    """A title and a colour; of an action that is new here its own words."""
    plain = record.action.replace(".", " ").replace("_", " ").capitalize()
    return WORDS.get(_key(record), (plain, "plain"))


def actions() -> list[tuple[str, str]]:
    """All that the log can tell of, by its words: for ui.select."""
    # What somebody registers as is no action of its own.
    return sorted(((name, title) for name, (title, _) in WORDS.items() if "." in name), key=itemgetter(1, 0))


def is_news(record: AuditRecord) -> bool:
    """Whether somebody who looks after the platform wants to hear of it."""
    return _key(record) in _NEWS


def _key(record: AuditRecord) -> str:
    purpose = record.details.get("purpose", "")
    return purpose if record.action == "sign_in.complete" and purpose in _NEWS else record.action
