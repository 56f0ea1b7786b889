"""Every page of the web UI, and who looks at it."""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page as Tab

Act = Callable[[Tab], None]


@dataclass(frozen=True, slots=True)
class Page:
    """`path` may name ids of the demo data, and be an address. `act`: what to do there before it is looked
    at. `is_overlay`: what is looked at lies above the page, in the window."""

    name: str
    path: str
    person: str = ""
    status: int = 200
    act: Act | None = None
    is_overlay: bool = False
    widths_px: tuple[int, ...] = ()  # where there is something to see; none: everywhere


def _press(name: str, *, exact: bool = False) -> Act:
    """Presses the first visible button or summary that is called so; `exact`: so and no more."""
    return lambda tab: tab.get_by_role("button", name=name, exact=exact).filter(visible=True).first.click()


def _press_and_wait(name: str) -> Act:
    """Presses the button that is called so, which leads to another page."""

    def act(tab: Tab) -> None:
        with tab.expect_navigation():
            tab.get_by_role("button", name=name).click()

    return act


def _send_empty(tab: Tab) -> None:
    form = tab.locator("main form[method=post]").first
    form.evaluate("form => { form.noValidate = true; form.requestSubmit() }")
    tab.get_by_role("alert").first.wait_for()


def _open_first_operation(tab: Tab) -> None:
    tab.locator("details.operation > summary").first.click()


def _create_key(tab: Tab) -> None:
    tab.get_by_label("Name").first.fill("From the page tour")
    tab.get_by_role("checkbox").first.check()
    tab.get_by_role("button", name="Create key").click()
    tab.get_by_role("heading", name="Your new key").wait_for()


def _invite(tab: Tab) -> None:
    tab.get_by_label("For whom").fill("The page tour")
    tab.get_by_role("button", name="Make a link").click()
    tab.get_by_role("heading", name="Your invitation").wait_for()


def _create_token(tab: Tab) -> None:
    tab.get_by_role("button", name="Create token").click()
    tab.get_by_role("heading", name="Your push token").wait_for()


def _open_operation(tab: Tab) -> None:
    tab.locator("summary", has_text="Create key").click()
    tab.get_by_role("heading", name="Answer 201").wait_for()


def _create_personal_token(tab: Tab) -> None:
    tab.get_by_label("Name").first.fill("From the page tour")
    tab.get_by_role("button", name="Create token").click()
    tab.get_by_role("heading", name="Your new token").wait_for()


def _show_forwarding(tab: Tab) -> None:
    tab.locator("summary", has_text="How calls are forwarded").click()
    tab.get_by_label("Quota per month").wait_for()


def _rotate_signing_key(tab: Tab) -> None:
    _press("Rotate")(tab)
    tab.get_by_role("dialog").get_by_role("button", name="Make a new key").click()
    tab.get_by_role("heading", name="Your new signing key").wait_for()


def _say_paid(tab: Tab) -> None:
    """Nothing is paid: what is looked at is the question."""
    _press("Mark as paid")(tab)
    tab.get_by_role("dialog").get_by_role("button", name="Mark as paid").wait_for()


def _send_again(tab: Tab) -> None:
    """The toast stays while the pointer is on it."""
    _press("Send")(tab)
    tab.get_by_role("dialog").get_by_role("button", name="Send it").click()
    tab.locator("[data-toast]").hover()


def _edit_price(tab: Tab) -> None:
    """A part more, filled in until the example month shows it."""
    tab.get_by_role("button", name="Volume tiers").click()
    at = "price.components.3.volume.tiers"
    for name, text in (("0.up_to", "1000"), ("0.unit_amount", "0.02"), ("1.unit_amount", "0.01")):
        tab.locator(f"[name='{at}.{name}']").fill(text)
    tab.locator("#preview .sum").wait_for()


def _simulate(tab: Tab) -> None:
    tab.get_by_role("button", name="Simulate", exact=True).click()
    tab.get_by_text("Under this price").first.wait_for()


def _ask_for_too_much(tab: Tab) -> None:
    tab.get_by_label("First day").fill("2024-01-01")
    tab.get_by_role("button", name="Make report").click()
    tab.get_by_role("alert").first.wait_for()


def _create_alert(tab: Tab) -> None:
    tab.get_by_label("Name").first.fill("From the page tour")
    tab.get_by_label("Thresholds").fill("1000 5000")
    tab.get_by_label("Webhook").fill("https://hooks.example.com/ams")
    tab.get_by_role("button", name="Create alert").click()
    tab.get_by_role("heading", name="Your webhook").first.wait_for()


def _ask_for_code(tab: Tab) -> None:
    tab.get_by_label("Email").first.fill("nobody@nowhere.example")
    tab.get_by_role("button", name="Mail me a code").click()
    tab.wait_for_url("**/login/code")


def _invite_nobody(tab: Tab) -> None:
    """The form of an invitation, which isn't the first of the page."""
    form = tab.locator("form[action$='/invitations']")
    form.evaluate("form => { form.noValidate = true; form.requestSubmit() }")
    tab.get_by_role("alert").first.wait_for()


def _reject_without_reason(tab: Tab) -> None:
    for box in tab.get_by_role("checkbox").all()[:2]:
        box.check()
    tab.get_by_role("button", name="Reject").click()
    tab.get_by_role("alert").first.wait_for()


def _search(words: str) -> Act:
    """In the palette, until something is found."""

    def act(tab: Tab) -> None:
        tab.keyboard.press("Control+k")
        tab.get_by_role("combobox").press_sequentially(words)
        tab.locator(f"#palette-list[data-words='{words}']").wait_for()

    return act


_PHONE_PX = (375, 320)
_CONSUMER, _NEW_CONSUMER, _DENIED = "busy consumer", "new consumer", "denied consumer"
_MANAGER, _VIEWER, _INVITED = _DENIED, "project viewer", "invited consumer"
_MERCHANT, _NEW_MERCHANT = "busy merchant", "new merchant"

PAGES = (
    Page("login", "/login"),
    Page("login-code", "/login", act=_ask_for_code),
    Page("login-errors", "/login", act=_send_empty),
    Page("register", "/register"),
    Page("register-merchant", "/register/merchant"),
    Page("docs-guide", "/docs"),
    Page("docs-area", "/docs/api/keys", act=_open_operation),
    Page("docs-consume", "/docs/api/consume"),
    Page("docs-billing", "/docs/billing"),
    Page("docs-errors", "/docs/errors"),
    Page("docs-signed-in", "/docs", _CONSUMER),
    Page("marketplace-public", "/marketplace"),
    Page("marketplace-nothing-found", "/marketplace?q=nothing+like+this"),
    Page("service-public", "/marketplace/{slug}"),
    Page("reference", "/marketplace/{slug}/reference", act=_open_first_operation),
    Page("operation", "/marketplace/{slug}/reference/get-convert", _CONSUMER),
    Page("merchant-public", "/marketplace/merchants/numbers-ltd"),
    Page("docker-service-public", "/marketplace/{docker_slug}"),
    Page("search-public", "/search?q=cu"),
    Page("public-menu", "/marketplace", act=_press("Menu"), is_overlay=True, widths_px=_PHONE_PX),
    Page("not-found", "/nowhere", status=404),
    Page("unavailable", "{alone}/marketplace", status=503),
    Page("consumer-overview", "/dashboard", _CONSUMER),
    Page("consumer-first-run", "/dashboard", _NEW_CONSUMER),
    Page(
        "consumer-drawer",
        "/dashboard",
        _CONSUMER,
        act=_press("Navigation"),
        is_overlay=True,
        widths_px=_PHONE_PX,
    ),
    Page("consumer-denied", "/dashboard", _DENIED),
    Page("consumer-menu", "/dashboard", _CONSUMER, act=_press("Account of"), is_overlay=True),
    Page("keys", "/dashboard/api-keys", _CONSUMER),
    Page("keys-revoked", "/dashboard/api-keys?status=revoked", _CONSUMER),
    Page("keys-none", "/dashboard/api-keys", _NEW_CONSUMER),
    Page("key-new", "/dashboard/api-keys/new", _CONSUMER),
    Page("key-errors", "/dashboard/api-keys/new", _CONSUMER, act=_send_empty),
    Page("key-secret", "/dashboard/api-keys/new", _CONSUMER, act=_create_key),
    Page("key", "/dashboard/api-keys/{key}", _CONSUMER),
    Page("key-revoking", "/dashboard/api-keys/{key}", _CONSUMER, act=_press("Revoke"), is_overlay=True),
    Page("key-capping", "/dashboard/api-keys/{key}", _CONSUMER, act=_press("Set a cap"), is_overlay=True),
    Page("key-revoked", "/dashboard/api-keys/{revoked_key}", _CONSUMER),
    Page("key-of-somebody-else", "/dashboard/api-keys/{key}", _NEW_CONSUMER, status=404),
    Page("key-settings", "/dashboard/api-keys/{key}/settings", _CONSUMER),
    Page("key-rotating", "/dashboard/api-keys/{key}/rotate", _CONSUMER),
    Page("found-keys", "/dashboard/api-keys/found", _CONSUMER),
    Page("found-key", "/found-key"),
    Page("found-key-errors", "/found-key", act=_send_empty),
    Page("spend-cap", "/dashboard/api-keys/spend-cap", _CONSUMER),
    Page("spend-cap-errors", "/dashboard/api-keys/spend-cap", _CONSUMER, act=_send_empty),
    Page("consumer-usage", "/dashboard/usage?range=30d", _CONSUMER),
    Page("consumer-usage-by-status", "/dashboard/usage?range=7d&group=status", _CONSUMER),
    Page("consumer-usage-none", "/dashboard/usage", _NEW_CONSUMER),
    Page("consumer-usage-days", "/dashboard/usage?from=2026-01-01&by=month&group=key", _CONSUMER),
    Page("consumer-calls", "/dashboard/usage/{today}", _CONSUMER),
    Page("consumer-calls-none", "/dashboard/usage/2024-02-29?status=5xx&slow=500", _CONSUMER),
    Page("consumer-call-not-found", "/dashboard/usage/{today}?request=nothing", _CONSUMER),
    Page("consumer-reports", "/dashboard/reports", _CONSUMER),
    Page("consumer-reports-none", "/dashboard/reports", _NEW_CONSUMER),
    Page("consumer-report-new", "/dashboard/reports/new", _CONSUMER),
    Page("settings-profile", "/settings/profile", _CONSUMER),
    Page("settings-sessions", "/settings/sessions", _CONSUMER),
    Page("settings-notifications", "/settings/notifications", _CONSUMER),
    Page("notifications", "/notifications", _CONSUMER),
    Page("notifications-none", "/notifications", _NEW_CONSUMER),
    Page("notifications-admin", "/notifications", "admin"),
    Page("unsubscribe-bad", "/unsubscribe/none", status=404),
    Page("settings-security", "/settings/security", _CONSUMER),
    Page("settings-security-app", "/settings/security", _CONSUMER, act=_press_and_wait("Add an app")),
    Page("settings-security-passkey", "/settings/security", _CONSUMER, act=_press_and_wait("Add a passkey")),
    Page("settings-tokens", "/settings/tokens", _CONSUMER),
    Page("settings-tokens-none", "/settings/tokens", _NEW_CONSUMER),
    Page("settings-tokens-new", "/settings/tokens/new", _CONSUMER),
    Page("settings-tokens-errors", "/settings/tokens/new", _CONSUMER, act=_send_empty),
    Page("settings-tokens-secret", "/settings/tokens/new", _CONSUMER, act=_create_personal_token),
    Page("consumer-alerts", "/dashboard/alerts", _CONSUMER),
    Page("consumer-alerts-none", "/dashboard/alerts", _NEW_CONSUMER),
    Page("consumer-alert-new", "/dashboard/alerts/new", _CONSUMER),
    Page("consumer-alert-errors", "/dashboard/alerts/new", _CONSUMER, act=_send_empty),
    Page("granted-services", "/dashboard/services", _CONSUMER),
    Page("granted-service", "/dashboard/services/{service}", _CONSUMER),
    Page(
        "granted-service-ending",
        "/dashboard/services/{service}",
        _CONSUMER,
        act=_press("Give access back"),
        is_overlay=True,
    ),
    Page("granted-service-denied", "/dashboard/services/{denied_service}", _DENIED),
    Page("granted-services-denied", "/dashboard/services?status=denied", _DENIED),
    Page("granted-docker-service", "/dashboard/services/{docker_service}", _CONSUMER),
    Page("consumer-images", "/dashboard/images", _CONSUMER),
    Page("consumer-images-none", "/dashboard/images", _NEW_CONSUMER),
    Page("consumer-invoices", "/dashboard/invoices", _CONSUMER),
    Page("consumer-invoices-paid", "/dashboard/invoices?status=paid&kind=credit-note", _CONSUMER),
    Page("consumer-invoices-none", "/dashboard/invoices", _NEW_CONSUMER),
    Page("consumer-invoice", "/dashboard/invoices/{consumer_invoice}", _CONSUMER),
    Page("consumer-invoice-line", "/dashboard/invoices/{consumer_invoice}/lines/1", _CONSUMER),
    Page("consumer-credit-note", "/dashboard/invoices/{credit_note}", _CONSUMER),
    Page("consumer-draft", "/dashboard/invoices/{draft}", _CONSUMER, status=404),
    Page("projects", "/dashboard/projects", _CONSUMER),
    Page("projects-none", "/dashboard/projects", _NEW_CONSUMER),
    Page("projects-invited", "/dashboard/projects", _INVITED),
    Page("project-new", "/dashboard/projects/new", _CONSUMER),
    Page("project-new-errors", "/dashboard/projects/new", _CONSUMER, act=_send_empty),
    Page("project", "/dashboard/projects/{project}", _CONSUMER),
    Page("project-offered", "/dashboard/projects/{project}", _MANAGER),
    Page("project-seen", "/dashboard/projects/{project}", _VIEWER),
    Page("project-of-others", "/dashboard/projects/{project}", _NEW_CONSUMER, status=404),
    Page("project-members", "/dashboard/projects/{project}/members", _CONSUMER),
    Page("project-members-errors", "/dashboard/projects/{project}/members", _CONSUMER, act=_invite_nobody),
    Page("project-members-seen", "/dashboard/projects/{project}/members", _VIEWER),
    Page("project-member", "/dashboard/projects/{project}/members/{manager}", _CONSUMER),
    Page(
        "project-member-removing",
        "/dashboard/projects/{project}/members/{manager}",
        _CONSUMER,
        act=_press("Remove"),
        is_overlay=True,
    ),
    Page("project-settings", "/dashboard/projects/{project}/settings", _CONSUMER),
    Page(
        "project-closing",
        "/dashboard/projects/{project}/settings",
        _CONSUMER,
        act=_press("Close project"),
        is_overlay=True,
    ),
    Page(
        "project-leaving",
        "/dashboard/projects/{project}/settings",
        _VIEWER,
        act=_press("Leave project"),
        is_overlay=True,
    ),
    Page("invitation", "/invitations?invitation={invitation}", _INVITED),
    Page("invitation-code", "/invitations", _INVITED),
    Page("invitation-unknown", "/invitations?code=7K2M", _INVITED, status=404),
    Page("invitation-merchant", "/invitations?code=7K2M", _MERCHANT, status=403),
    Page("key-new-for-project", "/dashboard/api-keys/new?project={project}", _MANAGER),
    Page("key-of-project", "/dashboard/api-keys/{project_key}", _VIEWER),
    Page("keys-of-project", "/dashboard/api-keys?project={project}", _VIEWER),
    Page("usage-of-project", "/dashboard/usage?range=30d&project={project}", _VIEWER),
    Page("spend-of-project", "/dashboard/spend?project={project}&group=key", _VIEWER),
    Page(
        "service-for-project",
        "/marketplace/{slug}",
        _CONSUMER,
        act=_press("Ask for a project"),
        is_overlay=True,
    ),
    Page("spend", "/dashboard/spend", _CONSUMER),
    Page("spend-by-key", "/dashboard/spend?group=key", _CONSUMER),
    Page("spend-none", "/dashboard/spend", _NEW_CONSUMER),
    Page("consumer-reconciliation", "/dashboard/reconciliation", _CONSUMER),
    Page("cost-estimate", "/marketplace/{denied_slug}/cost?used={service}", _CONSUMER),
    Page("cost-estimate-none", "/marketplace/{slug}/cost", _NEW_CONSUMER),
    Page("marketplace", "/marketplace", _CONSUMER),
    Page("marketplace-images", "/marketplace?type=docker&sort=name", _CONSUMER),
    Page("search-consumer", "/search?q=pro", _CONSUMER),
    Page("palette", "/dashboard", _CONSUMER, act=_search("cu"), is_overlay=True),
    Page("service", "/marketplace/{slug}", _NEW_CONSUMER),
    Page("service-denied", "/marketplace/{denied_slug}", _DENIED),
    Page("forbidden", "/admin", _CONSUMER, status=403),
    Page("blocked", "/dashboard", "blocked consumer", status=403),
    Page("merchant-overview", "/merchant", _MERCHANT),
    Page("merchant-first-run", "/merchant", _NEW_MERCHANT),
    Page("merchant-services", "/merchant/services", _MERCHANT),
    Page("merchant-service-new", "/merchant/services/new", _MERCHANT),
    Page("merchant-service-errors", "/merchant/services/new", _MERCHANT, act=_send_empty),
    Page("merchant-service", "/merchant/services/{service}", _MERCHANT),
    Page("merchant-service-private", "/merchant/services/{private_service}", _MERCHANT),
    Page("merchant-service-suspended", "/merchant/services/{suspended_service}", _MERCHANT),
    Page("merchant-service-retired", "/merchant/services/{retired_service}", _MERCHANT),
    Page("merchant-service-change", "/merchant/services/{service}/edit", _MERCHANT),
    Page(
        "merchant-service-withdraw",
        "/merchant/services/{service}",
        _MERCHANT,
        act=_press("Withdraw", exact=True),
        is_overlay=True,
    ),
    Page("merchant-image-edit", "/merchant/services/{docker_service}/edit", _MERCHANT),
    Page("invitations", "/merchant/services/{private_service}/invitations", _MERCHANT),
    Page("invitation-new", "/merchant/services/{private_service}/invitations", _MERCHANT, act=_invite),
    Page("service-invitation", "/marketplace/invitation/{invitation_token}", _CONSUMER),
    Page("service-invitation-nobody", "/marketplace/invitation/{invitation_token}"),
    Page("merchant-service-draft", "/merchant/services/{draft_service}", _MERCHANT),
    Page("merchant-service-rejected", "/merchant/services/{rejected_service}", _MERCHANT),
    Page("merchant-docker-service", "/merchant/services/{docker_service}", _MERCHANT),
    Page("merchant-service-edit", "/merchant/services/{draft_service}/edit", _MERCHANT),
    Page(
        "merchant-service-forwarding",
        "/merchant/services/{service}/edit",
        _MERCHANT,
        act=_show_forwarding,
    ),
    Page("merchant-credential", "/merchant/services/{service}/credential", _MERCHANT),
    Page(
        "merchant-credential-errors",
        "/merchant/services/{service}/credential",
        _MERCHANT,
        act=_send_empty,
    ),
    Page("merchant-document", "/merchant/services/{denied_service}/openapi", _MERCHANT),
    Page("merchant-document-none", "/merchant/services/{draft_service}/openapi", _MERCHANT),
    Page("merchant-document-errors", "/merchant/services/{service}/openapi", _MERCHANT, act=_send_empty),
    Page("merchant-signing-key", "/merchant/services/{service}", _MERCHANT, act=_rotate_signing_key),
    Page("merchant-images", "/merchant/images", _MERCHANT),
    Page("merchant-push-token", "/merchant/images", _MERCHANT, act=_create_token),
    Page("merchant-images-none", "/merchant/images", _NEW_MERCHANT),
    Page("merchant-usage", "/merchant/usage?range=30d", _MERCHANT),
    Page("merchant-usage-by-key", "/merchant/usage?range=90d&group=key", _MERCHANT),
    Page("merchant-usage-by-consumer", "/merchant/usage?range=12mo&group=consumer", _MERCHANT),
    Page("merchant-calls", "/merchant/usage/{today}", _MERCHANT),
    Page("merchant-consumers", "/merchant/consumers", _MERCHANT),
    Page("merchant-consumers-none", "/merchant/consumers", _NEW_MERCHANT),
    Page("merchant-service-consumers", "/merchant/services/{service}/consumers", _MERCHANT),
    Page("merchant-consumer", "/merchant/consumers/{pseudonym}", _MERCHANT),
    Page("merchant-consumer-access", "/merchant/consumers/{pseudonym}/services/{service}", _MERCHANT),
    Page(
        "merchant-blocking",
        "/merchant/consumers/{pseudonym}/services/{service}",
        _MERCHANT,
        act=_press("Block"),
        is_overlay=True,
    ),
    Page("merchant-access-requests", "/merchant/access-requests", _MERCHANT),
    Page("merchant-access-requests-none", "/merchant/access-requests", _NEW_MERCHANT),
    Page("merchant-consumer-of-nobody", "/merchant/consumers/cst_nobody", _MERCHANT, status=404),
    Page("merchant-reports", "/merchant/reports", _MERCHANT),
    Page("merchant-report-deleting", "/merchant/reports", _MERCHANT, act=_press("Delete"), is_overlay=True),
    Page("merchant-report-new", "/merchant/reports/new?consumer={pseudonym}", _MERCHANT),
    Page("merchant-report-errors", "/merchant/reports/new", _MERCHANT, act=_ask_for_too_much),
    Page("merchant-alerts", "/merchant/alerts", _MERCHANT),
    Page("merchant-alert-new", "/merchant/alerts/new", _MERCHANT),
    Page("merchant-alert-secret", "/merchant/alerts/new", _MERCHANT, act=_create_alert),
    Page("merchant-invoices", "/merchant/invoices", _MERCHANT),
    Page("merchant-issue", "/merchant/invoices/issue", _MERCHANT),
    Page("merchant-issue-unknown", "/merchant/invoices/issue?consumer=cst_nobody", _MERCHANT),
    Page("merchant-invoice-line", "/merchant/invoices/{merchant_invoice}/lines/1", _MERCHANT),
    Page("merchant-issue-none", "/merchant/invoices/issue", _NEW_MERCHANT),
    Page("merchant-runs", "/merchant/invoices/runs", _MERCHANT),
    Page("merchant-runs-none", "/merchant/invoices/runs", _NEW_MERCHANT),
    Page("merchant-run", "/merchant/invoices/runs/{own_run}", _MERCHANT),
    Page(
        "merchant-paying", "/merchant/invoices/{merchant_invoice}", _MERCHANT, act=_say_paid, is_overlay=True
    ),
    Page(
        "merchant-crediting",
        "/merchant/invoices/{merchant_invoice}",
        _MERCHANT,
        act=_press("Credit"),
        is_overlay=True,
    ),
    Page(
        "merchant-voiding",
        "/merchant/invoices/{merchant_invoice}",
        _MERCHANT,
        act=_press("Void"),
        is_overlay=True,
    ),
    Page(
        "merchant-toast", "/merchant/invoices/{merchant_invoice}", _MERCHANT, act=_send_again, is_overlay=True
    ),
    Page("merchant-invoices-none", "/merchant/invoices", _NEW_MERCHANT),
    Page("merchant-invoice", "/merchant/invoices/{merchant_invoice}", _MERCHANT),
    Page("merchant-draft", "/merchant/invoices/{draft}", _MERCHANT),
    Page("merchant-credit-note", "/merchant/invoices/{credit_note}", _MERCHANT),
    Page("merchant-revenue", "/merchant/revenue", _MERCHANT),
    Page("merchant-revenue-none", "/merchant/revenue", _NEW_MERCHANT),
    Page("merchant-statement", "/merchant/statements?month={this_month}", _MERCHANT),
    Page("merchant-statement-none", "/merchant/statements", _NEW_MERCHANT),
    Page("merchant-reconciliation", "/merchant/reconciliation", _MERCHANT),
    Page("merchant-prices", "/merchant/services/{service}/prices", _MERCHANT),
    Page("merchant-price-editing", "/merchant/services/{service}/prices", _MERCHANT, act=_edit_price),
    Page(
        "merchant-price-canceling",
        "/merchant/services/{service}/prices",
        _MERCHANT,
        act=_press("Cancel"),
        is_overlay=True,
    ),
    Page("merchant-simulation", "/merchant/services/{service}/simulation", _MERCHANT),
    Page("merchant-simulated", "/merchant/services/{service}/simulation", _MERCHANT, act=_simulate),
    Page("merchant-profile", "/merchant/profile", _MERCHANT),
    Page("suspended", "/merchant", "suspended merchant", status=403),
    Page("admin-overview", "/admin", "admin"),
    Page("admin-requests", "/admin/requests", "admin"),
    Page("admin-requests-none", "/admin/requests?kind=change", "admin"),
    Page("admin-requests-errors", "/admin/requests", "admin", act=_reject_without_reason),
    Page("admin-services", "/admin/services", "admin"),
    Page("admin-service", "/admin/services/{service}", "admin"),
    Page("admin-service-suspended", "/admin/services/{suspended_service}", "admin"),
    Page(
        "admin-service-suspend",
        "/admin/services/{service}",
        "admin",
        act=_press("Suspend"),
        is_overlay=True,
    ),
    Page("admin-service-pending", "/admin/services/{pending_service}", "admin"),
    Page("admin-document", "/admin/services/{denied_service}/openapi", "admin", act=_open_first_operation),
    Page("admin-service-change", "/admin/services/{denied_service}", "admin"),
    Page("admin-docker-service", "/admin/services/{docker_service}", "admin"),
    Page("admin-merchants", "/admin/merchants", "admin"),
    Page("admin-merchant", "/admin/merchants/{merchant}", "admin"),
    Page(
        "admin-merchant-suspending",
        "/admin/merchants/{merchant}",
        "admin",
        act=_press("Suspend"),
        is_overlay=True,
    ),
    Page("admin-merchant-suspended", "/admin/merchants/{suspended}", "admin"),
    Page("admin-consumers", "/admin/consumers", "admin"),
    Page("admin-consumer", "/admin/consumers/{consumer}", "admin"),
    Page("admin-consumer-blocked", "/admin/consumers/{blocked}", "admin"),
    Page("admin-usage-of-merchant", "/admin/usage?range=30d&merchant={merchant}&service={service}", "admin"),
    Page("admin-usage", "/admin/usage?range=30d", "admin"),
    Page("admin-usage-by-merchant", "/admin/usage?range=90d&group=merchant", "admin"),
    Page("admin-calls", "/admin/usage/{today}", "admin"),
    Page("admin-reports", "/admin/reports", "admin"),
    Page("admin-report-new", "/admin/reports/new", "admin"),
    Page("admin-alerts", "/admin/alerts", "admin"),
    Page("admin-alert-new", "/admin/alerts/new", "admin"),
    Page("admin-dead-letters", "/admin/dead-letters", "admin"),
    Page("admin-dead-letters-waiting", "/admin/dead-letters?of=identity", "admin"),
    Page(
        "admin-dead-letters-dismissing",
        "/admin/dead-letters?of=identity",
        "admin",
        act=_press("Dismiss"),
        is_overlay=True,
    ),
    Page("admin-dead-letters-dismissed", "/admin/dead-letters?of=identity&status=dismissed", "admin"),
    Page("admin-invoices", "/admin/invoices", "admin"),
    Page("admin-invoice", "/admin/invoices/{merchant_invoice}", "admin"),
    Page("admin-issue", "/admin/invoices/issue", "admin"),
    Page("admin-invoice-line", "/admin/invoices/{merchant_invoice}/lines/1", "admin"),
    Page("admin-runs", "/admin/invoices/runs", "admin"),
    Page("admin-run", "/admin/invoices/runs/{run}", "admin"),
    Page("admin-statement", "/admin/merchants/{merchant}/statements?month={this_month}", "admin"),
    Page("admin-reconciliation", "/admin/reconciliation", "admin"),
    Page("admin-reconciliation-open", "/admin/reconciliation?only=differences&merchant={merchant}", "admin"),
    Page("admin-governance", "/admin/governance", "admin"),
    Page("admin-sign-ins", "/admin/governance/sign-ins", "admin"),
    Page("admin-mails", "/admin/governance/mails", "admin"),
    Page("admin-settings", "/admin/settings", "admin"),
    Page("admin-team", "/admin/team", "admin"),
    Page("join-team", "/team/join?invite_code=7K2M-Q9TD-0XVA-3HJC-PW5E", "admin"),
    Page("search-admin", "/search?q=ma", "admin"),
)
