"""The patterns of identifiers, for `fullmatch`; each is the field format of its name in the contracts."""

import re

# C0 and C1 controls but tab, line feed and carriage return; lone surrogates can't occur in protobuf.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
DATE = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
EMAIL = re.compile(
    r"[^@\s<>\x22',;:()\[\]\\]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+"
)
# No line breaks or other controls, and nothing that turns the direction of writing.
LINE = re.compile(r"[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+")
MONTH = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])")
SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
