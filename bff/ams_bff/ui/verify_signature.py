"""Whether a call came through AMS: it checks the signature that each one carries (RFC 9421, hmac-sha256)."""

import base64
import hmac
import re
import time
from collections.abc import Mapping

# Each keyid with its secret, as AMS showed them. While a key is replaced, the old one and the new one.
SECRETS = {"KEY_ID": "SECRET"}
MAX_AGE_S = 300
_INPUT = re.compile(
    r'ams=(\("@method" "@path" "@query" "x-request-id"\)'
    r';created=([0-9]{1,12});keyid="([^"\\]+)";alg="hmac-sha256")'
)


def is_from_ams(method: str, target: str, headers: Mapping[str, str]) -> bool:
    """`target`: path and query as they stand in the request line. `headers`: by their names in lower case."""
    found = _INPUT.fullmatch(headers.get("signature-input", ""))
    if found is None or found[3] not in SECRETS or abs(time.time() - int(found[2])) > MAX_AGE_S:
        return False
    path, _, query = target.partition("?")
    base = (
        f'"@method": {method}\n"@path": {path}\n"@query": ?{query}\n'
        f'"x-request-id": {headers.get("x-request-id", "")}\n"@signature-params": {found[1]}'
    )
    signature = hmac.digest(base64.b64decode(SECRETS[found[3]]), base.encode(), "sha256")
    expected = f"ams=:{base64.b64encode(signature).decode()}:"
    return hmac.compare_digest(headers.get("signature", "").encode(), expected.encode())
