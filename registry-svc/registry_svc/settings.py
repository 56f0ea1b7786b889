"""What registry-svc is told by its environment."""

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import urlsplit

from ams_common.clients import MOST_PROXIES
from ams_common.errors import SettingsError
from ams_common.settings import ServiceSettings, https_only, parse_listen, setting, strong_secret

# Everybody can read it: production refuses it.
_DEVELOPMENT_SIGNING_KEY = "YW1zLWRldmVsb3BtZW50LXJlZ2lzdHJ5LXNpZ25pbmc="
PROVIDERS = ("distribution", "azure")


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """The settings are loaded with the prefix REGISTRY."""

    # Proves registry-svc to identity-svc, which has it in IDENTITY_SERVICE_SECRETS.
    service_secret: str = setting(development="development-secret", secret=True, production=strong_secret)
    catalog_address: str = setting(name="CATALOG_ADDRESS")
    keys_address: str = setting(name="KEYS_ADDRESS")

    http_listen: str = setting(development="127.0.0.1:5050")  # host:port of /v2/
    # Where docker finds /v2/: what stands before an image's name is its host.
    public_url: str = setting(development="http://127.0.0.1:5050", production=https_only)
    # 32 bytes in url-safe base64, the same for all replicas: the Ed25519 key of our access tokens.
    signing_key: str = setting(development=_DEVELOPMENT_SIGNING_KEY, secret=True)

    # What stores the images: a self-hosted CNCF distribution that nobody but us can reach, or Azure
    # Container Registry (which takes its identity from the environment that Azure gives).
    provider: str = setting("distribution")
    provider_url: str = setting(development="http://127.0.0.1:5051")
    max_blob_bytes: int = setting(20 * 1024**3)

    # How many proxies before us append to X-Forwarded-For: for keys that may be used from some networks only.
    trusted_proxies: int = setting(0)
    # How long a client may send nothing in the middle of a push, or take nothing of a layer that it pulls.
    idle_timeout_s: float = setting(60.0)
    # Layers that one push token or API key may move at once, and requests of everybody: more are told to
    # come back.
    max_streams: int = setting(64)
    max_requests: int = setting(1000)
    # What is under way at the end of a process may take this long. Who stops it by force must wait longer,
    # by the five seconds that the RPCs have before: compose's stop_grace_period.
    stop_grace_s: int = setting(15)

    def __post_init__(self) -> None:
        problems = []
        if self.provider not in PROVIDERS:
            problems.append(f"REGISTRY_PROVIDER must be one of {', '.join(PROVIDERS)}")
        try:
            _signing_seed(self.signing_key)
        except ValueError:
            problems.append("REGISTRY_SIGNING_KEY must be 32 random bytes in url-safe base64")
        try:
            host, _ = parse_listen(self.http_listen)
        except ValueError:
            host = ""
        if not host:
            problems.append("REGISTRY_HTTP_LISTEN must look like 127.0.0.1:5050")
        if not 0 <= self.trusted_proxies <= MOST_PROXIES:
            problems.append(f"REGISTRY_TRUSTED_PROXIES must be from 0 to {MOST_PROXIES}")
        if problems:
            raise SettingsError(problems)

    @property
    def signing_seed(self) -> bytes:
        """Returns the 32 bytes of the private key that signs access tokens."""
        return _signing_seed(self.signing_key)

    @property
    def host(self) -> str:
        """How docker names us: host, and port where it isn't the scheme's own."""
        return urlsplit(self.public_url).netloc


def _signing_seed(text: str) -> bytes:
    try:
        seed = base64.urlsafe_b64decode(text)
    except (ValueError, binascii.Error):
        raise ValueError("no base64") from None
    if len(seed) != 32:
        raise ValueError("not 32 bytes")
    return seed
