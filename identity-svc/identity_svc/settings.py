"""The settings of identity-svc, from its environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parseaddr

from ams_common.errors import SettingsError
from ams_common.processes import CALLERS
from ams_common.settings import https_only, setting, strong_secret

from identity_svc.addresses import is_address, normalise_email
from identity_svc.issuers import Issuer, parse_issuers
from identity_svc.mailer import SMTP_TLS_MODES
from identity_svc.sessions import LONGEST_SESSION, SessionLifetimes
from identity_svc.vault import Vault

# Everybody can read these two: production refuses them.
_DEVELOPMENT_ENCRYPTION_KEY = "YW1zLWRldmVsb3BtZW50LWVuY3J5cHRpb24ta2V5LTE="
_DEVELOPMENT_SERVICES = tuple(process.folder for process in CALLERS)
_DEVELOPMENT_SECRETS = tuple(f"{service}=development-secret" for service in _DEVELOPMENT_SERVICES)


def _strong_secrets(value: tuple[str, ...]) -> str | None:
    weak = [pair.partition("=")[0] for pair in value if strong_secret(pair.partition("=")[2])]
    return f"needs at least 24 characters for each of {', '.join(weak)}" if weak else None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings are loaded with the prefix IDENTITY."""

    database_url: str = setting(secret=True)  # the service's own role; its search_path is its schema
    listen: str = setting()  # host:port
    kafka_bootstrap_servers: str = setting(name="KAFKA_BOOTSTRAP_SERVERS")
    kafka_topic_prefix: str = setting("", name="KAFKA_TOPIC_PREFIX")
    log_level: str = setting("INFO", name="LOG_LEVEL")
    metrics_listen: str = setting("")  # host:port of the operator's metrics; "": they aren't served

    # These addresses get the admin role at the start (PRD-4.1: a small team, none of it self-registered).
    admin_emails: tuple[str, ...] = setting(())
    # "keys-svc=secret,gateway=secret": what services prove themselves with.
    service_secrets: tuple[str, ...] = setting(
        development=_DEVELOPMENT_SECRETS, secret=True, production=_strong_secrets
    )
    # Fernet keys: the first seals, all unseal (put a new one first, drop the old one 60 days later).
    encryption_key: tuple[str, ...] = setting(development=(_DEVELOPMENT_ENCRYPTION_KEY,), secret=True)

    smtp_host: str = setting(development="127.0.0.1")
    smtp_port: int = setting(587)
    smtp_username: str = setting("")
    smtp_password: str = setting("", secret=True)
    # "starttls" and "implicit" insist on TLS. "opportunistic" takes it when it is offered, which anybody on
    # the way can prevent. "plaintext" says on purpose that there is none, e.g. to a relay on this host.
    smtp_tls: str = setting(development="opportunistic")
    mail_from: str = setting(development="AMS <no-reply@ams.localhost>")
    # OpenID Connect issuers, as JSON: [{"id": "google", "label": "Google",
    # "issuer": "https://accounts.google.com", "client_id": "…", "client_secret": "…"}]. See issuers.Issuer.
    oidc_issuers: str = setting("[]", secret=True)
    # How long sessions last from signing in, at most 30 days; those of accounts that hold the admin role.
    session_hours: int = setting(720)
    admin_session_hours: int = setting(12)
    # Whether admins act as such only when they have signed in with a second factor. Without one they sign in
    # to their other roles, and to where they add one. On a developer's machine the demo's admin does without.
    admins_need_second_factor: bool = setting(development=False)
    # How many codes one client address may ask for in an hour, half of them at once, and how many mails with
    # codes go out in an hour. A browser that has signed in to the account before is counted by neither.
    code_asks_per_hour: int = setting(150)
    code_mails_per_hour: int = setting(3600)
    # Where people reach AMS: the links in mails begin with it.
    public_url: str = setting(development="http://127.0.0.1:8080", production=https_only)

    def secrets_by_service(self) -> Mapping[str, str]:
        """What each service proves itself with, by its name."""
        return {name.strip(): secret for name, _, secret in (p.partition("=") for p in self.service_secrets)}

    def session_lifetimes(self) -> SessionLifetimes:
        usual, admins = timedelta(hours=self.session_hours), timedelta(hours=self.admin_session_hours)
        return SessionLifetimes(usual, admins)

    def issuers(self) -> Sequence[Issuer]:
        """The OpenID Connect issuers with which people may sign in."""
        return parse_issuers(self.oidc_issuers)

    def __post_init__(self) -> None:
        problems = []
        if not all(name and secret for name, secret in self.secrets_by_service().items()):
            problems.append("IDENTITY_SERVICE_SECRETS must look like keys-svc=secret,gateway=secret")
        try:
            Vault(self.encryption_key)
        except ValueError:
            problems.append("IDENTITY_ENCRYPTION_KEY must be 32 random bytes in url-safe base64")
        if self.smtp_tls not in SMTP_TLS_MODES:
            problems.append(f"IDENTITY_SMTP_TLS must be one of {', '.join(SMTP_TLS_MODES)}")
        if not is_address(normalise_email(parseaddr(self.mail_from)[1])):
            problems.append("IDENTITY_MAIL_FROM must be an address, or like AMS <no-reply@acme.example>")
        wrong = [email for email in self.admin_emails if not is_address(normalise_email(email))]
        if wrong:
            problems.append(f"IDENTITY_ADMIN_EMAILS has what is no address: {', '.join(wrong)}")
        try:
            insecure = [issuer.id for issuer in self.issuers() if not issuer.url.startswith("https://")]
            if insecure and self.public_url.startswith("https://"):
                problems.append(f"IDENTITY_OIDC_ISSUERS must have https issuers: {', '.join(insecure)}")
        except ValueError as error:
            problems.append(f"IDENTITY_OIDC_ISSUERS {error}")
        if min(self.code_asks_per_hour, self.code_mails_per_hour) < 2:
            problems.append("IDENTITY_CODE_ASKS_PER_HOUR and IDENTITY_CODE_MAILS_PER_HOUR must be 2 or more")
        most = LONGEST_SESSION // timedelta(hours=1)
        if not 1 <= self.session_hours <= most:
            problems.append(f"IDENTITY_SESSION_HOURS must be from 1 to {most}")
        if not 1 <= self.admin_session_hours <= most:
            problems.append(f"IDENTITY_ADMIN_SESSION_HOURS must be from 1 to {most}")
        if problems:
            raise SettingsError(problems)
