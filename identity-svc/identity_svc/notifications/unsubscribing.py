"""The links by which a mail's reader turns such mails off, without signing in (RFC 8058). Each is sealed: it
names one person and one category, and nobody else can make one."""

import json
from dataclasses import dataclass
from uuid import UUID

from ams.identity.v1.notifications_service_pb2 import NotificationCategory
from ams_common.errors import NotFoundError
from ams_common.sealing import SealingError

from identity_svc.notifications import catalogue
from identity_svc.vault import Vault

_PURPOSE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class Subscription:
    """Mails of one category to one person."""

    user_id: UUID
    category: NotificationCategory.ValueType

    def token(self, vault: Vault) -> str:
        """What the link holds; good for as long as the vault has its key."""
        return vault.seal(json.dumps([_PURPOSE, str(self.user_id), self.category]).encode()).decode()


def subscription_of(token: str, vault: Vault) -> Subscription:
    """Raises NotFoundError unsubscribe_link_invalid for a token that isn't ours, or of a category that can't
    be turned off."""
    try:
        # Whatever else the vault has sealed is no such list.
        purpose, user_id, category = json.loads(vault.unseal(token.encode()))
        if purpose == _PURPOSE and category in catalogue.CATEGORIES and category not in catalogue.REQUIRED:
            return Subscription(UUID(user_id), category)
    except (SealingError, ValueError, TypeError):
        pass
    raise NotFoundError("unsubscribe_link_invalid", "This link isn't good. Sign in to choose your mails.")
