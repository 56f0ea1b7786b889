"""The SQL of documents."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ams_common.queries import QueryStore, many
from ams_rating.price_json import price_from_json
from ams_rating.prices import Price


def _price(row: Mapping[str, Any]) -> tuple[UUID, Price]:
    return row["price_version_id"], price_from_json(json.loads(row["price"]))


class DocumentStore(QueryStore, package="billing_svc.documents"):
    """What an invoice says besides its row and lines: the lines' prices."""

    list_prices = many(row=_price)
