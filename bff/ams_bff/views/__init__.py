"""Every view, by area: each module has its VIEWS."""

from ams_bff.views import (
    dashboard,
    granted_services,
    home,
    invoices,
    issuers,
    keys,
    marketplace,
    merchant_overview,
    merchant_services,
    preferences,
    registering,
    signing_in,
    usage,
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
    *dashboard.VIEWS,
    *granted_services.VIEWS,
    *invoices.VIEWS,
    *keys.VIEWS,
    *usage.VIEWS,
)
