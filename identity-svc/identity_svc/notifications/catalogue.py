"""The catalogue: every kind of notification, how it is worded, where it leads, and which way it comes. Pure.

The wordings are Jinja templates of plain text over the message's fields (see values). What makes a mail or
a page of them escapes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ams.identity.v1.notifications_service_pb2 import (
    NOTIFY_ACCESS,
    NOTIFY_ALERTS,
    NOTIFY_BILLING,
    NOTIFY_KEYS,
    NOTIFY_LISTINGS,
    NOTIFY_PROJECTS,
    NOTIFY_REPORTS,
    NOTIFY_SECURITY,
    NotificationCategory,
)

# Everybody gets these, both ways: security, and what a contract hangs on.
REQUIRED = frozenset({NOTIFY_SECURITY, NOTIFY_BILLING})
CATEGORIES = tuple(
    number for number in NotificationCategory.values() if number
)  # in the order of the contract

_NOT_YOU = "If that wasn’t you, end all sessions but your own and make your second factors anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind. A fact whose value comes out empty is left out, and so is an empty paragraph.

    `path`: the page that it leads to; its values are quoted for a URL. `admin_path`: the page for admins, of
    a kind that is told to all of them. `is_mailed`: whether there is a mail of it at all.
    """

    category: NotificationCategory.ValueType
    title: str
    text: str
    path: str
    button: str
    facts: Mapping[str, str] = field(default_factory=dict)
    details: tuple[str, ...] = ()
    admin_path: str = ""
    is_mailed: bool = True


CATALOGUE: Mapping[str, Kind] = {
    "price_change_ahead": Kind(
        category=NOTIFY_BILLING,
        title="The price of {{ service_name }} "
        "{% if is_canceled %}stays as it is{% else %}changes on {{ starts_on }}{% endif %}",
        text="{% if is_canceled %}The price that was announced for {{ service_name }} from {{ starts_on }}"
        " (UTC) on has been taken back. It stays as it is:"
        "{% else %}The price of {{ service_name }} changes on {{ starts_on }}, at 00:00 UTC."
        " From then on:{% endif %}",
        details=(
            "{% if is_canceled %}{{ price_before }}{% else %}{{ price_then }}{% endif %}",
            "{% if is_canceled %}What was taken back:{% else %}Until then:{% endif %}",
            "{% if is_canceled %}{{ price_then }}{% else %}{{ price_before }}{% endif %}",
            "{% if not is_canceled %}What you use before keeps the price of its time.{% endif %}",
            "You get this because you have access to this service.",
        ),
        path="/marketplace/{{ service_slug }}",
        button="See the service",
    ),
    "invoice_issued": Kind(
        category=NOTIFY_BILLING,
        title="{% if is_credit_note %}Credit note{% else %}Invoice{% endif %} {{ number }}"
        " of {{ merchant_name }}",
        text="{{ merchant_name }} has issued {% if is_credit_note %}a credit note{% else %}an invoice"
        "{% endif %} to you.",
        facts={
            "Number": "{{ number }}",
            "Period": "{{ first_day }} to {{ last_day }} (UTC)",
            "Total": "{{ total }}",
            "Due on": "{% if not is_credit_note %}{{ due_on }}{% endif %}",
        },
        path="/dashboard/invoices/{{ invoice_id }}",
        button="See all of it",
    ),
    "report_shared": Kind(
        category=NOTIFY_REPORTS,
        title="{{ merchant_name }} has shared a usage report with you",
        text="{{ merchant_name }} has shared a report of your usage with you:"
        " {{ first_day }} to {{ last_day }} (UTC).",
        path="/dashboard/reports/{{ report_id }}",
        button="Open the report",
    ),
    "report_ready": Kind(
        category=NOTIFY_REPORTS,
        title="Your usage report is ready",
        text="Your usage report is ready: {{ first_day }} to {{ last_day }} (UTC).",
        path="/reports/{{ report_id }}",
        button="Open the report",
    ),
    "threshold_reached": Kind(
        category=NOTIFY_ALERTS,
        title="Alert “{{ rule_name }}”: {{ threshold }} reached",
        text="Your alert “{{ rule_name }}” has been reached.",
        facts={"Threshold": "{{ threshold }}", "So far": "{{ value }}", "Period": "{{ period }} (UTC)"},
        path="/alerts/{{ alert_id }}",
        button="See the alert",
    ),
    "access_requested": Kind(
        category=NOTIFY_ACCESS,
        title="Somebody asks for access to {{ service_name }}",
        text="A request for access to {{ service_name }} waits for your decision.",
        path="/merchant/access-requests",
        admin_path="/admin",
        button="See what waits",
    ),
    "access_decided": Kind(
        category=NOTIFY_ACCESS,
        title="{% if is_approved %}You have access to {{ service_name }}"
        "{% else %}No access to {{ service_name }}{% endif %}",
        text="{% if is_approved %}Your request for access to {{ service_name }} is approved: your API keys"
        " can call it from now on.{% else %}Your request for access to {{ service_name }} is denied."
        "{% endif %}",
        facts={"Reason": "{{ reason }}"},
        path="/marketplace/{{ service_slug }}",
        button="See the service",
    ),
    "access_ended": Kind(
        category=NOTIFY_ACCESS,
        title="Your access to {{ service_name }} has ended",
        text="Your access to {{ service_name }} was ended by {% if ended_by == 'merchant' %}its merchant"
        "{% elif ended_by == 'admin' %}an admin{% else %}you{% endif %}. Calls to it are"
        " refused from now on.",
        facts={"Reason": "{{ reason }}"},
        path="/marketplace/{{ service_slug }}",
        button="See the service",
    ),
    "listing_submitted": Kind(
        category=NOTIFY_LISTINGS,
        title="{% if is_revision %}Changes to {{ service_name }} wait{% else %}{{ service_name }} waits"
        "{% endif %} for approval",
        text="{{ merchant_name }} has sent in {% if is_revision %}changes to {{ service_name }}, which is"
        " live{% else %}the service {{ service_name }}{% endif %}.",
        path="/admin/services/{{ service_id }}",
        button="See and decide",
    ),
    "listing_decided": Kind(
        category=NOTIFY_LISTINGS,
        title="{% if is_revision %}The changes to {{ service_name }} are{% else %}{{ service_name }} is"
        "{% endif %} {{ decision }}",
        text="{% if is_revision %}"
        "{% if decision == 'approved' %}Your changes to {{ service_name }} are live."
        "{% else %}Your changes to {{ service_name }} were not approved: it stays as it is.{% endif %}"
        "{% elif decision == 'approved' %}{{ service_name }} is in the marketplace."
        "{% elif decision == 'reinstated' %}{{ service_name }} is back in the marketplace."
        "{% elif decision == 'suspended' %}An admin has suspended {{ service_name }}: calls to it are"
        " refused.{% else %}{{ service_name }} was not approved. You can change it and send it in"
        " again.{% endif %}",
        facts={"Reason": "{{ reason }}"},
        path="/merchant/services/{{ service_id }}",
        button="See the service",
    ),
    "key_expiring": Kind(
        category=NOTIFY_KEYS,
        title="The API key {{ key_name }} expires on {{ expires_at }}",
        text="Your API key {{ key_name }} expires on {{ expires_at }}. Calls with it are refused then:"
        " rotate it, or make another one before.",
        facts={"Key": "{{ key_prefix }}…", "Expires": "{{ expires_at }}"},
        path="/dashboard/api-keys/{{ key_id }}",
        button="See the key",
    ),
    "key_exposed": Kind(
        category=NOTIFY_SECURITY,
        title="Your API key {{ key_name }} was found in public",
        text="The secret of your API key {{ key_name }} was found where others can read it."
        "{% if is_disabled %} The key is disabled, as you have chosen."
        "{% else %} It still works: revoke or rotate it now.{% endif %}",
        facts={
            "Key": "{{ key_prefix }}…",
            "Found at": "{{ found_at }}",
            "Exposed since": "{{ exposed_since }}",
            "Cost since": "{{ cost_since }}",
        },
        path="/dashboard/api-keys/{{ key_id }}",
        button="See the key",
    ),
    "licence_ending": Kind(
        category=NOTIFY_ACCESS,
        title="Your licence for {{ service_name }} ends on {{ ends_at }}",
        text="Your licence for the image of {{ service_name }} ends on {{ ends_at }}.",
        path="/dashboard/images",
        button="See your images",
    ),
    "standing_changed": Kind(
        category=NOTIFY_SECURITY,
        title="Your account as a {{ role }} is {% if standing == 'active' %}active again"
        "{% else %}{{ standing }}{% endif %}",
        text="{% if standing == 'active' %}An admin has lifted what your account as a {{ role }} was"
        " stopped for."
        "{% elif role == 'merchant' %}An admin has suspended your account as a merchant: calls to your"
        " services are refused."
        "{% else %}An admin has blocked your account as a consumer: calls with your API keys are refused."
        "{% endif %}",
        facts={"Reason": "{{ reason }}"},
        path="{% if role == 'merchant' %}/merchant{% else %}/dashboard{% endif %}",
        button="See your account",
    ),
    "second_factor_changed": Kind(
        category=NOTIFY_SECURITY,
        title="{% if factor == 'passkey' %}A passkey{% else %}An authenticator app{% endif %} was"
        " {% if is_removed %}removed from{% else %}added to{% endif %} your account",
        text="{% if is_removed %}It isn’t asked for any more when somebody signs in to your account."
        "{% else %}Whoever signs in to your account can prove it with this second factor.{% endif %}",
        facts={"Passkey": "{{ passkey_name }}"},
        details=(_NOT_YOU,),
        path="/settings/security",
        button="See your second factors",
    ),
    "recovery_codes_made": Kind(
        category=NOTIFY_SECURITY,
        title="New recovery codes were made for your account",
        text="The recovery codes that you had before open nothing any more.",
        details=(_NOT_YOU,),
        path="/settings/security",
        button="See your second factors",
    ),
    "recovery_code_used": Kind(
        category=NOTIFY_SECURITY,
        title="A recovery code of your account was used",
        text="Somebody has proven your account with one of your recovery codes."
        " {% if codes_left == 0 %}None is left: make new ones."
        "{% elif codes_left == 1 %}One is left.{% else %}{{ codes_left }} are left.{% endif %}",
        details=(_NOT_YOU,),
        path="/settings/security",
        button="See your second factors",
    ),
    "personal_token_made": Kind(
        category=NOTIFY_SECURITY,
        title="The personal access token {{ token_name }} was made",
        text="With it a script can {% if is_read_only %}read{% else %}read and change{% endif %} what you can"
        " as {% if role == 'admin' %}an{% else %}a{% endif %} {{ role }}.",
        facts={"Token": "{{ token_prefix }}…", "Expires": "{{ expires_at }}"},
        details=("If that wasn’t you, revoke it and end all sessions but your own.",),
        path="/settings/tokens",
        button="See your tokens",
    ),
    # Whoever is invited gets a mail of its own, with the code.
    "project_invitation": Kind(
        category=NOTIFY_PROJECTS,
        title="{{ invited_by }} invites you to the project {{ project_name }}",
        text="{{ invited_by }} invites you to the project {{ project_name }}. The mail about it has the code"
        " to answer with.",
        path="/dashboard/projects",
        button="See your projects",
        is_mailed=False,
    ),
    "project_membership_changed": Kind(
        category=NOTIFY_PROJECTS,
        title="{% if change == 'joined' %}{{ member_name }} has joined the project {{ project_name }}"
        "{% elif change == 'left' %}{{ member_name }} has left the project {{ project_name }}"
        "{% elif change == 'removed' %}You are no longer in the project {{ project_name }}"
        "{% elif change == 'role_changed' %}You have another role in the project {{ project_name }}"
        "{% elif change == 'offered' %}{{ member_name }} offers you the project {{ project_name }}"
        "{% elif change == 'handed_over' %}The project {{ project_name }} belongs to {{ member_name }} now"
        "{% elif change == 'closed' %}The project {{ project_name }} is closed"
        "{% else %}The project {{ project_name }} has changed{% endif %}",
        text="{% if change == 'closed' %}Its API keys are revoked, and its access has ended."
        "{% elif change == 'removed' %}What the project gave you has ended."
        "{% elif change == 'role_changed' %}What you may do there has changed with it."
        "{% elif change == 'handed_over' %}Whoever owns a project pays for it from then on."
        "{% elif change == 'offered' %}Whoever owns a project pays for it. It is yours once you accept."
        "{% else %}You get this because the project is yours.{% endif %}",
        path="/dashboard/projects{% if change not in ('removed', 'closed') %}/{{ project_id }}{% endif %}",
        button="See the project",
    ),
}


def kinds_of(category: NotificationCategory.ValueType) -> Mapping[str, Kind]:
    """The kinds of a category, by their names."""
    return {name: kind for name, kind in CATALOGUE.items() if kind.category == category}


def is_mailed(category: NotificationCategory.ValueType) -> bool:
    """Whether any kind of the category comes by mail."""
    return any(kind.is_mailed for kind in kinds_of(category).values())
