#!/bin/sh
# ddsketch 3.0.1 with protobuf 7.36.2 (PyPI), Python 3.11 or newer.
# Behaviour: a sketch that has been through the package's own protobuf form keeps its buckets, its count and its quantiles,
# and loses its sum, least and greatest value: its average is 0, without an error, and so is that part of the average of
# any sketch that it is merged into.
# Seen: "before: count 3, sum 6, from 1 to 3, average 2; after: count 3, sum 0, from inf to -inf, average 0; merged into one of 5: average 1.25"
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ddsketch==3.0.1 protobuf==7.36.2
cat > "$work/seen.py" <<'PYTHON'
from ddsketch import DDSketch
from ddsketch.pb.proto import DDSketchProto


def said(sketch):
    extent = f"from {sketch._min:g} to {sketch._max:g}"
    return f"count {sketch.count:g}, sum {sketch.sum:g}, {extent}, average {sketch.avg:g}"


sketch, other = DDSketch(0.01), DDSketch(0.01)
for value in (1.0, 2.0, 3.0):
    sketch.add(value)
back = DDSketchProto.from_proto(DDSketchProto.to_proto(sketch))
other.add(5.0)
after = said(back)
other.merge(back)
print(f"before: {said(sketch)}; after: {after}; merged into one of 5: average {other.avg:g}")
PYTHON
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
test "$seen" = "before: count 3, sum 6, from 1 to 3, average 2; after: count 3, sum 0, from inf to -inf, average 0; merged into one of 5: average 1.25"
