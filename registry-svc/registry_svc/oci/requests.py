"""What stands in the paths of /v2/: image names, tags, digests. Raises OciError for what none of them is."""

from starlette.requests import Request

from registry_svc import names
from registry_svc.oci.errors import OciError


def image_name(request: Request) -> str:
    """The image's name in the path."""
    name: str = request.path_params["name"]
    if not names.is_name(name):
        raise OciError(
            "NAME_INVALID", "An image is named <merchant>/<service> or <merchant>/<service>/<image>."
        )
    return name


def digest_in(text: str) -> str:
    if not names.is_digest(text):
        raise OciError("DIGEST_INVALID", "A digest is sha256: and 64 hexadecimal digits.")
    return text


def tag_in(text: str) -> str:
    if not names.is_tag(text):
        raise OciError("TAG_INVALID", "This is not a tag.")
    return text


def reference_in(text: str) -> str:
    """A tag or a digest."""
    return digest_in(text) if ":" in text else tag_in(text)
