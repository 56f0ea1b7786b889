"""How a service is used, in the languages most people paste from.

Plain text on purpose: markup would be copied as it stands in the page's source.
"""

import shlex
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from ams.catalog.v1.openapi_pb2 import Operation

from ams_bff.ui import verify_signature

# For ui.code_sample: what each is called, and its text.
Samples: TypeAlias = list[tuple[str, str]]

# Where a program that doesn't hold its key itself finds it.
_VARIABLE = "AMS_KEY"

_CURL = """\
curl "{url}" \\
  -H "Authorization: Bearer {key}\""""

_PYTHON = """\
{imports}from urllib.request import Request, urlopen

key = {key}

request = Request("{url}", headers={{"Authorization": f"Bearer {{key}}"}})
with urlopen(request) as response:
    print(response.read().decode())"""

_JAVASCRIPT = """\
const key = {key};
const response = await fetch("{url}", {{
  headers: {{ Authorization: `Bearer ${{key}}` }},
}});
console.log(await response.text());"""

_PULL = """\
echo "{key}" | {login} --password-stdin
{pull}"""


def call_samples(consume_url: str, service: str, key: str = "") -> Samples:
    """Calls of a service, by its slug. Without a `key` they read it from the environment."""
    url = f"{consume_url}/{service}/"
    python, javascript = f'os.environ["{_VARIABLE}"]', f"process.env.{_VARIABLE}"
    return [
        ("curl", _CURL.format(url=url, key=key or f"${_VARIABLE}")),
        (
            "Python",
            _PYTHON.format(url=url, imports="" if key else "import os\n", key=f'"{key}"' if key else python),
        ),
        ("JavaScript", _JAVASCRIPT.format(url=url, key=f'"{key}"' if key else javascript)),
    ]


def operation_sample(consume_url: str, service: str, operation: Operation) -> Samples:
    """A call of one operation, with what the document gives as examples. What comes from the document is
    quoted: a path may hold what a shell would obey."""
    path, query = operation.path, []
    for parameter in operation.parameters:
        value = quote(parameter.example, safe="") or parameter.name.upper()
        if parameter.location == "path":
            path = path.replace(f"{{{parameter.name}}}", value)
        elif parameter.location == "query" and parameter.is_required:
            query.append(f"{quote(parameter.name, safe='')}={value}")
    url = f"{consume_url}/{service}{path}{'?' if query else ''}{'&'.join(query)}"
    lines = [f"curl {shlex.quote(url)}", f'  -H "Authorization: Bearer ${_VARIABLE}"']
    if operation.method != "GET":
        lines.insert(1, f"  -X {shlex.quote(operation.method)}")
    content = next(iter(operation.request_body.contents), None)
    if content is not None:
        lines.append(f"  -H {shlex.quote(f'Content-Type: {content.media_type}')}")
        # An example that begins with "@" must not name a file of the reader's, as it would with --data.
        lines.append(f"  --data-raw {shlex.quote(content.example or '…')}")
    return [("curl", " \\\n".join(lines))]


def verification_samples(signing_key_id: str, secret: str) -> Samples:
    """How a merchant's API checks that a call came through AMS: a file that docs/ shows too, with the key."""
    text = Path(verify_signature.__file__).read_text()
    return [("Python", text.replace("KEY_ID", signing_key_id).replace('"SECRET"', f'"{secret}"'))]


def pull_samples(login_command: str, pull_command: str, key: str) -> Samples:
    """Signing in to the registry with the key, and pulling."""
    return [("Docker", _PULL.format(key=key, login=login_command, pull=pull_command))]


_REST_CURL = """\
curl "{url}/api/v1/keys" \\
  -H "Authorization: Bearer $AMS_TOKEN\""""

_REST_PYTHON = """\
import json
import os
from urllib.request import Request, urlopen

headers = {{"Authorization": f"Bearer {{os.environ['AMS_TOKEN']}}"}}
with urlopen(Request("{url}/api/v1/keys", headers=headers)) as response:
    for key in json.load(response)["keys"]:
        print(key["name"], key["status"])"""

_REST_JAVASCRIPT = """\
const response = await fetch("{url}/api/v1/keys", {{
  headers: {{ Authorization: `Bearer ${{process.env.AMS_TOKEN}}` }},
}});
const {{ keys }} = await response.json();
for (const key of keys) console.log(key.name, key.status);"""


def rest_samples(public_url: str) -> Samples:
    """A call of the REST API, with a token from the environment."""
    return [
        ("curl", _REST_CURL.format(url=public_url)),
        ("Python", _REST_PYTHON.format(url=public_url)),
        ("JavaScript", _REST_JAVASCRIPT.format(url=public_url)),
    ]
