#!/bin/sh
# pyarrow 26.0.1 (PyPI), Python 3.11 or newer.
# Behaviour: where amounts are decimal128(38, x), adding two columns whose sum may not fit is refused (ArrowInvalid), while
# the sum of one column that doesn't fit wraps round to a negative amount without an error: compute.sum and a group's sum
# alike, with the column's own type. As decimal256 the sum is right.
# Seen: "add ArrowInvalid, sum negative decimal128(38, 0), group_by negative decimal128(38, 0), decimal256 right"
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cat > "$work/seen.py" <<'PYTHON'
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

amount = Decimal(9 * 10**37)
amounts = pa.array([amount, amount], pa.decimal128(38, 0))


def said(total):
    return "right" if total.as_py() == 2 * amount else f"negative {total.type}" if total.as_py() < 0 else "other"


try:
    pc.add(amounts, amounts)
    added = "taken"
except pa.ArrowInvalid as error:
    added = type(error).__name__
grouped = pa.table({"key": [1, 1], "amount": amounts}).group_by("key").aggregate([("amount", "sum")])
wide = pc.sum(amounts.cast(pa.decimal256(76, 0)))
print(f"add {added}, sum {said(pc.sum(amounts))}, group_by {said(grouped['amount_sum'][0])}, decimal256 {said(wide)}")
PYTHON
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
test "$seen" = "add ArrowInvalid, sum negative decimal128(38, 0), group_by negative decimal128(38, 0), decimal256 right"
