#!/bin/sh
# duckdb 2.0.1 (PyPI), Python 3.11 or newer.
# Behaviour: the median of two DECIMAL(18, 2) amounts is a DECIMAL(18, 2), and is worked out in a double all the same: between
# 1234567890123456.01 and 1234567890123456.03 lies 1234567890123456.00, less than both. quantile_disc, which picks one of
# them, and sum are exact; avg says by its type that it is a double.
# Seen: "median DECIMAL(18,2) 1234567890123456.00, quantile_disc DECIMAL(18,2) 1234567890123456.01, sum DECIMAL(38,2) 2469135780246912.04, avg DOUBLE"
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
cat > "$work/seen.py" <<'PYTHON'
import duckdb

amounts = "(VALUES (1234567890123456.01::DECIMAL(18, 2)), (1234567890123456.03::DECIMAL(18, 2))) AS a (x)"


def said(function):
    kind, value = duckdb.sql(f"SELECT typeof({function}), ({function})::VARCHAR FROM {amounts}").fetchall()[0]
    return kind if kind == "DOUBLE" else f"{kind} {value}"


named = {"median": "median(x)", "quantile_disc": "quantile_disc(x, 0.5)", "sum": "sum(x)", "avg": "avg(x)"}
print(", ".join(f"{name} {said(function)}" for name, function in named.items()))
PYTHON
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
test "$seen" = "median DECIMAL(18,2) 1234567890123456.00, quantile_disc DECIMAL(18,2) 1234567890123456.01, sum DECIMAL(38,2) 2469135780246912.04, avg DOUBLE"
