"""A picture as the chat protocols take it."""

from __future__ import annotations

import base64
import re

from memos_integrations.cube.errors import InvalidInput

_IMAGE_TYPE = re.compile(r"image/(?:png|jpeg|gif|webp)")
_MAX_IMAGE_BYTES = 20_000_000


def seen_with(prompt: str, image: bytes, media_type: str) -> list[dict[str, object]]:
    """The content of a message that asks ``prompt`` about ``image``, held in a data URI.

    Raises ``InvalidInput`` for what cannot be sent.
    """
    if not _IMAGE_TYPE.fullmatch(media_type):
        raise InvalidInput("a picture is image/png, image/jpeg, image/gif or image/webp")
    if not 0 < len(image) <= _MAX_IMAGE_BYTES:
        raise InvalidInput(f"a picture has 1 to {_MAX_IMAGE_BYTES} bytes, not {len(image)}")
    uri = f"data:{media_type};base64,{base64.b64encode(image).decode()}"
    return [
        {"type": "text", "text": prompt},
        {"type": "image_url", "image_url": {"url": uri}},
    ]
