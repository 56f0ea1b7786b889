"""The secrets of this installation: made at random once, kept in a file that only its owner reads."""

import json
import secrets
from pathlib import Path


class Keyring:
    """Named texts in a JSON file of mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def find(self, name: str) -> str | None:
        return self._values.get(name)

    def secret(self, name: str) -> str:
        """The secret of that name; a new one of 256 bits the first time."""
        if name not in self._values:
            self.keep(name, secrets.token_urlsafe(32))
        return self._values[name]

    def keep(self, name: str, value: str) -> None:
        self._values[name] = value
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600, exist_ok=False)
        unfinished.write_text(json.dumps(self._values, indent=2))
        unfinished.replace(self.path)
