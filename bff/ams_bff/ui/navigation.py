"""Where a person can go, by the role they act in: the one list of places. A page that isn't built yet
doesn't stand here."""

from dataclasses import dataclass

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role


@dataclass(frozen=True, slots=True)
class Place:
    """A main page. `is_main`: one of the four at the bottom of a phone."""

    role: Role.ValueType
    label: str
    path: str
    icon: str
    is_main: bool = False


# The first of each role is its home.
PLACES: tuple[Place, ...] = (
    Place(CONSUMER, "Overview", "/dashboard", icon="layout-dashboard", is_main=True),
    Place(CONSUMER, "API keys", "/dashboard/api-keys", icon="key-round", is_main=True),
    Place(CONSUMER, "Usage", "/dashboard/usage", icon="activity", is_main=True),
    Place(CONSUMER, "Services", "/dashboard/services", icon="boxes"),
    Place(CONSUMER, "Images", "/dashboard/images", icon="container"),
    Place(CONSUMER, "Invoices", "/dashboard/invoices", icon="receipt"),
    Place(CONSUMER, "Marketplace", "/marketplace", icon="store", is_main=True),
    Place(MERCHANT, "Overview", "/merchant", icon="layout-dashboard", is_main=True),
    Place(MERCHANT, "Services", "/merchant/services", icon="boxes", is_main=True),
    Place(MERCHANT, "Images", "/merchant/images", icon="container"),
    Place(MERCHANT, "Usage", "/merchant/usage", icon="activity", is_main=True),
    Place(MERCHANT, "Invoices", "/merchant/invoices", icon="receipt", is_main=True),
    Place(MERCHANT, "Marketplace", "/marketplace", icon="store"),
    Place(ADMIN, "Overview", "/admin", icon="layout-dashboard", is_main=True),
    Place(ADMIN, "Services", "/admin/services", icon="boxes", is_main=True),
    Place(ADMIN, "Merchants", "/admin/merchants", icon="building-2", is_main=True),
    Place(ADMIN, "Consumers", "/admin/consumers", icon="users", is_main=True),
    Place(ADMIN, "Usage", "/admin/usage", icon="activity"),
    Place(ADMIN, "Governance", "/admin/governance", icon="scale"),
    Place(ADMIN, "Marketplace", "/marketplace", icon="store"),
)

ROLE_LABELS = {ADMIN: "Admin", MERCHANT: "Merchant", CONSUMER: "Consumer"}
# An area's pages are shown in its role, whichever is active.
_AREAS = {"/admin": ADMIN, "/merchant": MERCHANT, "/dashboard": CONSUMER}


def places_of(role: Role.ValueType, is_closed: bool = False) -> list[Place]:
    """The main pages of a role; of one that is closed, its home, which tells so, and what is open to all."""
    places = [place for place in PLACES if place.role == role]
    return [p for p in places if p == places[0] or role_of_path(p.path) is None] if is_closed else places


def home_of(role: Role.ValueType) -> str:
    """Where a person starts."""
    return next((place.path for place in PLACES if place.role == role), "/marketplace")


def role_of_path(path: str) -> Role.ValueType | None:
    """The role whose area a path belongs to; None for what everybody sees."""
    return next((role for area, role in _AREAS.items() if path == area or path.startswith(f"{area}/")), None)


def current_place(role: Role.ValueType, path: str) -> Place | None:
    """The place that a path belongs to: the one with the longest path in front of it."""
    around = [p for p in places_of(role) if path == p.path or path.startswith(f"{p.path}/")]
    return max(around, key=lambda place: len(place.path), default=None)


def leads_to(path: str) -> bool:
    """Whether a place is built."""
    return any(place.path == path for place in PLACES)
