#!/bin/sh
# aiosmtplib 5.1.3, aiosmtpd 1.4.6 as the server (PyPI), Python 3.11 or newer.
# Behaviour: send_message() writes an EmailMessage with email.policy.SMTP whatever policy the message has, where smtplib's
# uses the message's own. A policy with max_line_length=998 keeps a long List-Unsubscribe on one line; sent by aiosmtplib
# the link becomes encoded words (RFC 2047), which a header of links mustn't hold, and mail programs find none in it.
# Seen: "smtplib <https://, aiosmtplib =?utf-8?q". The server listens on a free port of 127.0.0.1.
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiosmtplib==5.1.3 aiosmtpd==1.4.6
cat > "$work/seen.py" <<'PYTHON'
import asyncio
import smtplib
from email.message import EmailMessage
from email.policy import SMTP as POLICY

import aiosmtplib
from aiosmtpd.smtp import SMTP

message = EmailMessage(policy=POLICY.clone(max_line_length=998))
message["From"], message["To"] = "a@one.example", "b@one.example"
message["List-Unsubscribe"] = f"<https://one.example/{'x' * 200}>"
message.set_content("text\n")


class Keep:
    """Keeps how the header began, of each mail."""

    def __init__(self):
        self.begun = []

    async def handle_DATA(self, server, session, envelope):
        lines = envelope.original_content.decode().split("\r\n")
        header = next(line for line in lines if line.startswith("List-Unsubscribe"))
        self.begun.append(header.split()[1][:9])
        return "250 kept"


def send_by_smtplib(port):
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.send_message(message)


async def main():
    keep = Keep()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(keep, hostname="localhost"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.to_thread(send_by_smtplib, port)
    await aiosmtplib.send(message, hostname="127.0.0.1", port=port, start_tls=False)
    print("smtplib {}, aiosmtplib {}".format(*keep.begun))


asyncio.run(main())
PYTHON
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
test "$seen" = "smtplib <https://, aiosmtplib =?utf-8?q"
