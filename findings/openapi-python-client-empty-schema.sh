#!/bin/sh
# openapi-python-client 0.29.1 (PyPI), Python 3.11 or newer.
# Behaviour: a request body of two media types, one of them JSON with the empty schema (JSON Schema's "anything"), is
# generated without a warning into a function that can't be called with any body: it asks isinstance(body, Any), which
# raises TypeError. With {"type": "object"} in its place it works; with "*/*" alone the endpoint is left out.
# Seen: "generated without a warning; TypeError: typing.Any cannot be used with isinstance()"
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check openapi-python-client==0.29.1
cat > "$work/api.json" <<'JSON'
{"openapi": "3.1.0", "info": {"title": "Echo", "version": "1"},
 "paths": {"/echo": {"post": {"operationId": "Echo", "tags": ["echo"],
  "requestBody": {"content": {"application/json": {"schema": {}},
   "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
  "responses": {"200": {"description": "The same.", "content": {"application/json": {"schema": {}}}}}}}}}
JSON
cat > "$work/config.yml" <<'YAML'
package_name_override: echo_client
project_name_override: echo-client
post_hooks: []
YAML
said=$("$work/venv/bin/openapi-python-client" generate --path "$work/api.json" --output-path "$work/made" \
  --config "$work/config.yml" --fail-on-warning 2>&1) && said="generated without a warning"
cat > "$work/seen.py" <<'PYTHON'
from echo_client.api.echo.echo import _get_kwargs

try:
    print("can be called", _get_kwargs(body={"where": "here"}))
except TypeError as error:
    print(f"TypeError: {error}")
PYTHON
seen="$said; $(PYTHONPATH="$work/made" "$work/venv/bin/python" "$work/seen.py")"
echo "$seen"
test "$seen" = "generated without a warning; TypeError: typing.Any cannot be used with isinstance()"
