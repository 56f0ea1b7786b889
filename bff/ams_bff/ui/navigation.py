"""Where a person can go, by the role they act in: the one list of main pages."""

from dataclasses import dataclass

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role


@dataclass(frozen=True, slots=True)
class Entry:
    """A main page. `is_main`: one of the four at the bottom of a phone. `parts`: where pages below it stand
    that its own path isn't in front of."""

    role: Role.ValueType
    label: str
    path: str
    icon: str
    is_main: bool = False
    parts: tuple[str, ...] = ()


# The first of each role is its home.
ENTRIES: tuple[Entry, ...] = (
    Entry(CONSUMER, "Overview", "/dashboard", icon="layout-dashboard", is_main=True),
    Entry(CONSUMER, "API keys", "/dashboard/api-keys", icon="key-round", is_main=True),
    Entry(CONSUMER, "Usage", "/dashboard/usage", icon="activity", is_main=True),
    Entry(CONSUMER, "Services", "/dashboard/services", icon="boxes"),
    Entry(CONSUMER, "Images", "/dashboard/images", icon="container"),
    Entry(CONSUMER, "Projects", "/dashboard/projects", icon="folder-kanban", parts=("/invitations",)),
    Entry(CONSUMER, "Spend", "/dashboard/spend", icon="trending-up"),
    Entry(CONSUMER, "Invoices", "/dashboard/invoices", icon="receipt"),
    Entry(CONSUMER, "Reconciliation", "/dashboard/reconciliation", icon="scale"),
    Entry(CONSUMER, "Reports", "/dashboard/reports", icon="file-down"),
    Entry(CONSUMER, "Alerts", "/dashboard/alerts", icon="bell"),
    Entry(CONSUMER, "Marketplace", "/marketplace", icon="store", is_main=True),
    Entry(MERCHANT, "Overview", "/merchant", icon="layout-dashboard", is_main=True),
    Entry(MERCHANT, "Services", "/merchant/services", icon="boxes", is_main=True),
    Entry(MERCHANT, "Images", "/merchant/images", icon="container"),
    Entry(MERCHANT, "Usage", "/merchant/usage", icon="activity", is_main=True),
    Entry(MERCHANT, "Consumers", "/merchant/consumers", icon="users", parts=("/merchant/access-requests",)),
    Entry(MERCHANT, "Revenue", "/merchant/revenue", icon="trending-up"),
    Entry(MERCHANT, "Invoices", "/merchant/invoices", icon="receipt", is_main=True),
    Entry(MERCHANT, "Statements", "/merchant/statements", icon="scroll-text"),
    Entry(MERCHANT, "Reconciliation", "/merchant/reconciliation", icon="scale"),
    Entry(MERCHANT, "Reports", "/merchant/reports", icon="file-down"),
    Entry(MERCHANT, "Alerts", "/merchant/alerts", icon="bell"),
    Entry(MERCHANT, "Public profile", "/merchant/profile", icon="building-2"),
    Entry(MERCHANT, "Marketplace", "/marketplace", icon="store"),
    Entry(ADMIN, "Overview", "/admin", icon="layout-dashboard", is_main=True),
    Entry(ADMIN, "Requests", "/admin/requests", icon="list-checks"),
    Entry(ADMIN, "Services", "/admin/services", icon="boxes", is_main=True),
    Entry(ADMIN, "Merchants", "/admin/merchants", icon="building-2", is_main=True),
    Entry(ADMIN, "Consumers", "/admin/consumers", icon="users", is_main=True),
    Entry(ADMIN, "Usage", "/admin/usage", icon="activity"),
    Entry(ADMIN, "Invoices", "/admin/invoices", icon="receipt"),
    Entry(ADMIN, "Reconciliation", "/admin/reconciliation", icon="table-2"),
    Entry(ADMIN, "Reports", "/admin/reports", icon="file-down"),
    Entry(ADMIN, "Alerts", "/admin/alerts", icon="bell"),
    Entry(ADMIN, "Dead letters", "/admin/dead-letters", icon="inbox"),
    Entry(ADMIN, "Governance", "/admin/governance", icon="scale"),
    Entry(ADMIN, "Team", "/admin/team", icon="shield"),
    Entry(ADMIN, "Settings", "/admin/settings", icon="settings"),
    Entry(ADMIN, "Marketplace", "/marketplace", icon="store"),
)

# The pages about one's account, whichever role one acts in.
SETTINGS: tuple[tuple[str, str], ...] = (
    ("Profile", "/settings/profile"),
    ("Sessions", "/settings/sessions"),
    ("Access tokens", "/settings/tokens"),
    ("Notifications", "/settings/notifications"),
    ("Security", "/settings/security"),
)

ROLE_LABELS = {ADMIN: "Admin", MERCHANT: "Merchant", CONSUMER: "Consumer"}
# An area's pages are shown in its role, whichever is active.
_AREAS = {"/admin": ADMIN, "/merchant": MERCHANT, "/dashboard": CONSUMER}


def entries_of(role: Role.ValueType, is_closed: bool = False) -> list[Entry]:
    """The main pages of a role; of one that is closed, its home, which says so, and what is open to all."""
    entries = [entry for entry in ENTRIES if entry.role == role]
    return [p for p in entries if p == entries[0] or role_of_path(p.path) is None] if is_closed else entries


def home_of(role: Role.ValueType) -> str:
    return next((entry.path for entry in ENTRIES if entry.role == role), "/marketplace")


def role_of_path(path: str) -> Role.ValueType | None:
    """The role whose area a path belongs to; None for what everybody sees."""
    return next((role for area, role in _AREAS.items() if path == area or path.startswith(f"{area}/")), None)


def current_entry(role: Role.ValueType, path: str) -> Entry | None:
    """The entry that a path belongs to: the one with the longest path in front of it."""
    around = [
        (len(place), entry)
        for entry in entries_of(role)
        for place in (entry.path, *entry.parts)
        if path == place or path.startswith(f"{place}/")
    ]
    return max(around, key=lambda pair: pair[0], default=(0, None))[1]
