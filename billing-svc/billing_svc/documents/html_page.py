"""An invoice as one HTML page that needs nothing else, to read and to print. Pure."""

from importlib.resources import files

import jinja2

from billing_svc.documents.content import Document

_TEMPLATE = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
).from_string((files("billing_svc.documents") / "invoice.html").read_text())


def html_of(document: Document) -> bytes:
    """Names and reasons are strangers' texts: the template escapes them all, and the page runs no script."""
    return _TEMPLATE.render(document=document).encode()
