#!/bin/sh
# aiosql 15.0 (PyPI), Python 3.11 or newer.
# Behaviour: a query's header has to list its parameters (`-- name: find(key_id)^`), and the function's signature says so,
# but a call with one more is taken, and that one dropped without a word: a filter that the statement doesn't have filters
# nothing. A Python function of that signature would raise TypeError.
# Seen: "(self, *, key_id) -> ('first',)" for find(connection, key_id=1, owner="bob") of a row that is Ann's.
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiosql==15.0
cat > "$work/seen.py" <<'PYTHON'
import sqlite3

import aiosql

queries = aiosql.from_str("-- name: find(key_id)^\nSELECT name FROM keys WHERE key_id = :key_id\n", "sqlite3")
connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE keys (key_id, owner, name)")
connection.execute("INSERT INTO keys VALUES (1, 'ann', 'first')")
print(queries.find.__signature__, "->", queries.find(connection, key_id=1, owner="bob"))
PYTHON
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
test "$seen" = "(self, *, key_id) -> ('first',)"
