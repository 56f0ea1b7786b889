"""Part of `make check`: every commit has a subject of at most 60 characters, and a body that says why.

Only commits after `SINCE` are looked at, and merges aren't. Where there is no history to look at, as in an
export or a shallow clone, nothing is.
"""

import subprocess
import sys

# What was there when the rule came stays as it is.
SINCE = "c79e4d356951032aee330b296070a38befcd3c32"
MAX_SUBJECT = 60


def problem(subject: str, body: str) -> str | None:
    """What is wrong with the message of a commit, None if nothing is."""
    if len(subject) > MAX_SUBJECT:
        return f"its subject has {len(subject)} characters; at most {MAX_SUBJECT}"
    return None if body.strip() else "it has no body that says why"


def main() -> int:
    command = ["git", "log", "-z", "--no-merges", "--format=%h%n%s%n%b", f"{SINCE}..HEAD"]
    try:
        log = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 0
    bad = 0
    for message in log.stdout.split("\0") if log.returncode == 0 else ():
        if not message:
            continue
        commit, subject, body = message.split("\n", 2)
        if wrong := problem(subject, body):
            print(f"{commit} “{subject}”: {wrong}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
