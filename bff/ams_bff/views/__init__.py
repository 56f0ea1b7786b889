"""Every view, by area: each module has its VIEWS."""

from ams_bff.views import (
    home,
    issuers,
    marketplace,
    merchant_overview,
    merchant_services,
    preferences,
    registering,
    signing_in,
)

VIEWS = (
    *home.VIEWS,
    *signing_in.VIEWS,
    *issuers.VIEWS,
    *registering.VIEWS,
    *preferences.VIEWS,
    *marketplace.VIEWS,
    *merchant_overview.VIEWS,
    *merchant_services.VIEWS,
)
