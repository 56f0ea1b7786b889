"""The categories that services are sorted into: the one list, in the order in which it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Category:
    slug: str
    name: str
    description: str


_ALL = (
    Category("ai", "AI and machine learning", "Models, predictions, recognition of images and speech"),
    Category("analytics", "Analytics", "Measuring, reports, statistics"),
    Category("business", "Business", "Companies, documents, work between firms"),
    Category("commerce", "Commerce", "Shops, products, orders, deliveries"),
    Category("communication", "Communication", "Mail, messages, telephony, notifications"),
    Category("data", "Data", "Reference data, registers, feeds"),
    Category("developer-tools", "Developer tools", "Building, testing and running software"),
    Category("finance", "Finance", "Rates, payments, accounting, tax"),
    Category("identity", "Identity", "Who somebody is: sign-in, checks, addresses"),
    Category("location", "Maps and location", "Maps, routes, geocoding"),
    Category("media", "Media", "Images, video, sound, files"),
    Category("science", "Science and health", "Research, medicine, the environment"),
    Category("security", "Security", "Scanning, secrets, threats"),
    Category("text", "Text and language", "Translation, search, reading and writing"),
    Category("transport", "Transport", "Timetables, vehicles, freight"),
    Category("weather", "Weather", "Forecasts, observations, climate"),
    Category("other", "Other", "What fits nowhere else"),
)
# A slug is never taken out: services are stored with it.
CATEGORIES: Mapping[str, Category] = {category.slug: category for category in _ALL}
