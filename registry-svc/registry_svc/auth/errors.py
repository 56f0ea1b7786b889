"""Why the registry doesn't do what was asked. The messages are for the terminal of whoever asked."""

from registry_svc.auth.access_tokens import Access
from registry_svc.auth.principals import Principal


class RegistryError(Exception):
    """Base of the reasons that the caller is told."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotSignedInError(RegistryError):
    """The credential isn't known, or isn't good any more."""


class PushDeniedError(RegistryError):
    """A good credential may not push this, or not any more."""


class PullDeniedError(RegistryError):
    """A good credential may not pull this.

    `by` is who was denied; an access token where the denial was found at the sign-in already, so that
    nobody has looked yet whose it is.
    """

    def __init__(self, message: str, by: Principal | Access) -> None:
        super().__init__(message)
        self.by = by


class BusyError(RegistryError):
    """Others hold what is needed for too long; it can be tried again."""
