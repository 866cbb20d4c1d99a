"""What several routes need: the app, the user, the body, this server's address, a file as an answer."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any

from fastapi import Depends, Query, Request, UploadFile
from fastapi.responses import Response

from lib.access import User
from monai_dgm.data.listing import without_suffix
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID
from monai_dgm.labelling.server.http_errors import TooLargeError
from monai_dgm.labelling.server.request_options import reader_of

MEDIA_TYPES = {".json": "application/json", ".png": "image/png", ".gz": "application/gzip"}


def current_app(request: Request) -> Any:
    """The label app that this server runs."""
    return request.app.state.label_app


async def body_of(request: Request) -> bytes:
    """The body, whose size the request guard has limited."""
    return await request.body()


App = Annotated[Any, Depends(current_app)]
Body = Annotated[bytes, Depends(body_of)]
ImageName = Annotated[str, Query(min_length=1, max_length=MAX_IMAGE_ID)]


def named_image(app: App, image: ImageName) -> str:
    """Id of the radiograph that a request names, by id or by the SOP Instance UID that a viewer knows a file by."""
    return image if app.folder is None else app.folder.image_of(image) or image


ImageId = Annotated[str, Depends(named_image)]


def own_address(request: Request, app: Any) -> str:
    """Scheme, host and port of this server as browsers see it: the setting ``public_url``, else by the request."""
    return app.settings.public_url or f"{request.url.scheme}://{request.url.netloc}"


def reader_who_asks(params: dict[str, Any], user: User) -> str:
    """The name under which a reader's label is kept: the login where users log in, else what the request says.

    Args:
        params: of the request; "reader" or "client_id" holds the name.
        user: whose name is None where nobody logs in.

    Raises:
        InputError: a name that cannot be used.
    """
    return reader_of(params, user.name)


def content_of(file: UploadFile, limit: int, name: str) -> bytes:
    """The bytes of a file in a request.

    Raises:
        TooLargeError: more than ``limit``.
    """
    content = file.file.read(limit + 1)
    if len(content) > limit:
        raise TooLargeError(f"{name}: expected at most {limit} bytes, got more")
    return content


def suffix_of(name: str) -> str:
    """The suffix of a radiograph's file name, such as ".nii.gz"; empty for another one."""
    return name[len(without_suffix(name)) :]


def media_type_of(name: str) -> str:
    """Media type of a file that the app makes, by its suffix."""
    return MEDIA_TYPES[PurePath(name).suffix]


def file_response(name: str, content: bytes) -> Response:
    """A file as an answer; its name is reduced to characters that a header can hold."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    headers = {"content-disposition": f'attachment; filename="{plain}"'}
    return Response(content, media_type=media_type_of(name), headers=headers)
