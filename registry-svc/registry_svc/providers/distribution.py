"""The provider for a self-hosted CNCF distribution that nobody but us can reach."""

import aiohttp

from registry_svc.providers.oci_client import LetIn, OciWire


class DistributionProvider(OciWire):
    """The protocol as it is."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        super().__init__(http, url, LetIn())
