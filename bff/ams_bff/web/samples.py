"""How a service is called, in the languages most people paste from."""

_CURL = """\
curl -X POST {url} \\
  -H "Authorization: Bearer {key}" \\
  -H "X-AMS-Service: {service}" \\
  -H "Content-Type: application/json" \\
  -d '{{"hello": "world"}}'"""

_PYTHON = """\
import requests

answer = requests.post(
    "{url}",
    headers={{"Authorization": "Bearer {key}", "X-AMS-Service": "{service}"}},
    json={{"hello": "world"}},
    timeout=30,
)
answer.raise_for_status()
print(answer.text)"""

_JAVASCRIPT = """\
const answer = await fetch("{url}", {{
  method: "POST",
  headers: {{
    "Authorization": "Bearer {key}",
    "X-AMS-Service": "{service}",
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({{ hello: "world" }}),
}});
if (!answer.ok) throw new Error(`AMS answered ${{answer.status}}`);
console.log(await answer.text());"""


def call_samples(url: str, service: str, key: str) -> list[tuple[str, str]]:
    """For ui.code_sample: a call of the consumption endpoint at `url`. `service`: its slug."""
    samples = (("curl", _CURL), ("Python", _PYTHON), ("JavaScript", _JAVASCRIPT))
    return [(label, text.format(url=url, service=service, key=key)) for label, text in samples]
