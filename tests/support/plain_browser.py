"""A browser without scripts: cookies, redirects when wanted, forms as they stand in the page."""

import http.client
import re
from dataclasses import dataclass, field
from html import unescape
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

HTML = "text/html,application/xhtml+xml"


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    headers: Any
    text: str

    @property
    def location(self) -> str:
        return self.headers["location"] or ""

    @property
    def set_cookies(self) -> list[str]:
        return self.headers.get_all("set-cookie") or []

    def hidden(self, name: str) -> str:
        """The first hidden control with the name."""
        found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', self.text)
        assert found, f"no {name} in {self.text[:500]}"
        return unescape(found[1])


@dataclass(slots=True)
class Browser:
    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def send(
        self, method: str, path: str, body: str | bytes | None = None, headers: dict[str, str] | None = None
    ) -> Page:
        """One request; its cookies are kept."""
        sent = {"Accept": HTML} | (headers or {})
        if self.cookies:
            sent.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if body is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            page = Page(response.status, response.headers, response.read().decode(errors="replace"))
        finally:
            connection.close()
        for cookie in page.set_cookies:
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(cookie).items()}
        return page

    def get(self, path: str, **headers: str) -> Page:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, _page: str = "/login", **fields: str) -> Page:
        """Posts a form with the token of the page that it stands on."""
        token = self.get(_page).hidden("csrf")
        return self.send("POST", path, urlencode({"csrf": token, **fields}))

    def upload(self, path: str, page: str, content: bytes, **fields: str) -> Page:
        """Posts a form with a file in the field `content`, as a browser encodes it."""
        boundary = "----browser7MA4YWxkTrZu0gW"
        parts = {"csrf": self.get(page).hidden("csrf"), **fields}
        lines = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
            for name, text in parts.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="a.png"\r\n'
        lines += [head.encode(), b"Content-Type: image/png\r\n\r\n", content, b"\r\n"]
        body = b"".join([*lines, f"--{boundary}--\r\n".encode()])
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.send("POST", path, body, headers)

    @property
    def session(self) -> str:
        return self.cookies.get("ams_session", "")
