#!/bin/sh
# protovalidate 2.1.0 with protobuf 7.36.2 (PyPI), Python 3.11 or newer.
# Behaviour: it validates messages of google.protobuf, but what it tells of a violation is a message of another runtime,
# protobuf-py: no google.protobuf.message.Message, without SerializeToString, so that it can't be packed into the
# details of a google.rpc.Status as it is. In 1.2.0 it was google.protobuf's.
# Seen: "required: message of google.protobuf True, violation True False False": it is one, of google.protobuf, serialises.
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check protovalidate==2.1.0 protobuf-py==0.7.0 protobuf==7.36.2
cat > "$work/seen.py" <<'PYTHON'
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from protovalidate import collect_violations

file = descriptor_pb2.FileDescriptorProto(name="thing.proto", package="thing", syntax="proto3")
thing = file.message_type.add(name="Thing")
field = thing.field.add(name="name", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
# [(buf.validate.field).required = true], as a descriptor holds it.
field.options.ParseFromString(b"\xba\x48\x03\xc8\x01\x01")
pool = descriptor_pool.DescriptorPool()
pool.Add(file)
thing = message_factory.GetMessageClass(pool.FindMessageTypeByName("thing.Thing"))()
(violation,) = collect_violations(thing)
told = violation.proto
print(
    f"{told.rule_id}: message of google.protobuf {isinstance(thing, Message)}, violation",
    type(told).__name__ == "Violation",
    isinstance(told, Message),
    hasattr(told, "SerializeToString"),
)
PYTHON
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
test "$seen" = "required: message of google.protobuf True, violation True False False"
