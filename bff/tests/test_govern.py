"""The admins' pages of the team, the platform's settings, invites and the audit log, by what they answer."""

import re
import secrets
from typing import Any

import pytest

ADMIN_EMAIL = "admin@ams.example"
_CODE = r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$"


@pytest.fixture(scope="module")
def admin(browsers: Any) -> Any:
    return browsers.sign_in(ADMIN_EMAIL)


@pytest.fixture
def email() -> str:
    return f"{secrets.token_hex(5)}@team.example"


def invite_id(page: str, email: str) -> str:
    row = page[page.index(email) :]
    found = re.search(r"/invites/([0-9a-f-]{36})/resend", row)
    assert found
    return found[1]


def test_an_admin_is_invited_joins_and_is_dismissed(
    all_services: Any, browsers: Any, admin: Any, email: str
) -> None:
    team = "/admin/team"
    assert admin.post(team, team, email=email, note="Ops").location == team
    code = all_services.mailbox.wait_for(email, _CODE).strip()
    # Who isn't signed in does that first, and comes back with the code.
    link = f"/team/join?invite_code={code}"
    assert browsers.browser().get(link).location.startswith("/login?next=/team/join")
    newcomer = browsers.sign_in(email)
    assert newcomer.get("/admin").status == 403
    assert code in newcomer.get(link).text
    assert newcomer.post("/team/join", link, invite_code=code).location == "/admin"
    assert newcomer.get("/admin").status == 200
    listed = admin.get(team).text
    assert "Accepted" in listed
    found = re.search(rf'actor=([0-9a-f-]{{36}})">{re.escape(email)}', listed)
    assert found
    assert admin.post(f"{team}/{found[1]}/dismiss", team, reason="left").location == team
    assert email in admin.get(team).text.partition("Invites")[2]
    # At once: the session has ended, and its access token with it.
    assert all_services.wait_until(lambda: newcomer.get("/admin").status != 200)
    assert newcomer.get("/admin").location.startswith("/login")


def test_a_wrong_code_keeps_the_reader_out(browsers: Any) -> None:
    browser = browsers.register()
    refused = browser.post("/team/join", "/team/join", invite_code="7K2M-Q9TD-0XVA-3HJC-PW5E")
    assert refused.status == 409
    assert "not valid for this address" in refused.text


@pytest.mark.parametrize("page", ["/admin/team", "/admin/merchants"])
def test_an_invite_is_sent_again_and_revoked(all_services: Any, admin: Any, email: str, page: str) -> None:
    admin.post(page, page, email=email, note="")
    first = all_services.mailbox.wait_for(email, _CODE)
    invite = f"{page}/invites/{invite_id(admin.get(page).text, email)}"
    assert admin.post(f"{invite}/resend", page).location == page
    assert all_services.mailbox.wait_for(email, _CODE) != first
    assert admin.post(f"{invite}/revoke", page).location == page
    shown = admin.get(page).text
    assert "is revoked" in shown
    listed = shown.partition('class="toasts"')[0]
    assert "Revoked" in listed[listed.index(email) :]
    # Once more is no fault: the list tells.
    assert admin.post(f"{invite}/resend", page).location == page


def test_a_setting_is_changed_checked_and_remembered(all_services: Any, admin: Any) -> None:
    page = "/admin/settings"
    before = admin.get(page)

    def field(name: str, text: str) -> str:
        found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', text)
        assert found, name
        return found[1]

    names = ("etag", "max_active_keys", "max_services", "usage_retention_days", "audit_retention_days")
    fields = {name: field(name, before.text) for name in names}
    fields |= {"is_registration_open": "open", "allowed_mail_domains": ""}
    refused = admin.post(page, page, **fields | {"usage_retention_days": "3", "max_services": "77"})
    assert refused.status == 400
    assert 'id="f-usage-retention-days-error"' in refused.text
    assert 'value="77"' in refused.text
    reason = f"because {secrets.token_hex(4)}"
    changed = admin.post(page, page, **fields | {"max_services": "150", "reason": reason})
    assert changed.location == page
    after = admin.get(page).text
    assert reason in after
    assert "200 → <strong>150</strong>" in after
    stale = admin.post(page, page, **fields | {"max_services": "160"})
    assert stale.status == 412
    assert 'Services of a merchant</a> is now <span class="prose">150</span>' in stale.text
    lines = admin.get(f"{page}/table.csv").text.splitlines()
    assert reason in lines[1]
    assert ",max_services,200,150," in lines[1]


def test_the_log_tells_names_credentials_and_what_changed(
    all_services: Any, browsers: Any, admin: Any, email: str
) -> None:
    person = browsers.register()
    person.post("/settings/profile", "/settings/profile", name="Xenia Before")
    tag = secrets.token_hex(4)
    person.post("/settings/profile", "/settings/profile", name=f"Xenia {tag}")
    query = f"/admin/governance?actor={tag}&action=profile.update"
    all_services.wait_until(lambda: admin.get(query).text.count("profile.update</code>") == 2)
    page = admin.get(query).text
    assert "@people.example" in page
    assert f"Xenia Before → Xenia {tag}" in page
    assert "from 127.0.0.1" in page
    assert re.search(r'title="session:[0-9a-f-]{36}"', page)
    lines = admin.get(query.replace("governance?", "governance/table.csv?")).text.splitlines()
    assert len(lines) == 3
    assert f"name: Xenia Before → Xenia {tag}" in lines[1]
    assert "session:" in lines[1]
    assert "127.0.0.1" in lines[1]
    for narrowed in (
        "&first_day=2099-01-01",
        "&last_day=2020-01-01",
        "&resource=service",
        "&credential=token:x",
    ):
        assert "Nothing in the log" in admin.get(query + narrowed).text, narrowed
    for kept in ("&first_day=2020-01-01&last_day=2099-01-01", "&resource=user", "&first_day=nonsense"):
        assert f"Xenia {tag}" in admin.get(query + kept).text, kept


@pytest.mark.parametrize("path", ["/admin/team", "/admin/settings", "/admin/governance"])
def test_only_admins_come_in(browsers: Any, path: str) -> None:
    assert browsers.register().get(path).status == 403
    assert browsers.browser().get(path).location == f"/login?next={path}"


@pytest.mark.parametrize(
    "path", ["/admin/team", "/admin/settings", "/admin/settings/commission", "/admin/team/x/dismiss"]
)
def test_only_admins_change_anything(browsers: Any, path: str) -> None:
    browser = browsers.register()
    assert browser.post(path, "/dashboard", email="a@b.example", reason="x").status == 403


def test_tries_to_sign_in_are_shown_by_hour_and_outcome(
    all_services: Any, browsers: Any, admin: Any, email: str
) -> None:
    page = "/admin/governance/sign-ins"

    def counted(outcome: str) -> int:
        rows = re.findall(rf"^[^,]+,{outcome},([0-9]+)", admin.get(f"{page}/table.csv").text, re.MULTILINE)
        return sum(map(int, rows))

    before = counted("code_wrong")
    browser = browsers.browser()
    browser.post("/register", "/register", email=email, name="Wrong")
    browser.post("/login/code", "/login/code", code="000000")
    assert all_services.wait_until(lambda: counted("code_wrong") > before)
    for address in (page, f"{page}?range=7d", f"{page}?range=junk"):
        shown = admin.get(address)
        assert shown.status == 200
        # One row for each hour, a column for each line of the chart.
        assert shown.text.count("<tr data-x=") == (168 if "7d" in address else 48)
        found = re.search(
            r"Wrong code</strong>.*?<td[^>]*class=\"num\"><div>([0-9,]+)<", shown.text, re.DOTALL
        )
        assert found and int(found[1].replace(",", "")) > before
    assert browsers.register().get(page).status == 403
    assert browsers.browser().get(page).location.startswith("/login")


def test_mails_that_were_refused_are_shown_with_the_servers_answer(
    all_services: Any, browsers: Any, admin: Any
) -> None:
    page, email = "/admin/governance/mails", f"{secrets.token_hex(5)}@refused.example"
    assert admin.post("/admin/team", "/admin/team", email=email, note="").status == 303

    def row_of_it() -> str:
        """Not the toast, which names the address too."""
        return str(admin.get(page).text.partition(f"<strong>{email}</strong>")[2].partition("</tr>")[0])

    row = all_services.wait_until(row_of_it)
    assert "admin invite" in row and "Refused" in row
    assert "550 5.1.1 &lt;Nobody&gt; of that name" in row
    lines = admin.get(f"{page}/table.csv").text.splitlines()
    assert lines[0].startswith("given_up_at,recipient,kind,given_up_for,error,attempts")
    assert any(f",{email},admin_invite,refused," in line for line in lines)
    assert browsers.register().get(page).status == 403
    assert browsers.browser().get(f"{page}/table.csv").status != 200
