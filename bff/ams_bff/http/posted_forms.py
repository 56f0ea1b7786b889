"""Reading what a browser posts: plain forms, and those with a file."""

from ams_common.errors import InvalidArgumentError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ams_bff.ui.forms import Form

_MOST_FIELDS = 20
_MOST_FIELD_BYTES = 16 * 1024


async def read_form(request: Request) -> Form:
    """The form in the request's body. Raises InvalidArgumentError form_invalid for what is none."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        return Form.parse(await request.body())
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=1,
        max_fields=_MOST_FIELDS,
        max_part_size=_MOST_FIELD_BYTES,
    )
    form = Form()
    form.is_sent = True
    try:
        parts = await parser.parse()
    except MultiPartException:
        raise InvalidArgumentError("form_invalid", "This form can't be read.") from None
    for name, value in parts.multi_items():
        if isinstance(value, UploadFile):
            form.files[name] = await value.read()
        else:
            form.values.setdefault(name, []).append(value)
    await parts.close()
    return form
