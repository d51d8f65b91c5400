"""What a stored message or node may point at: nothing on the disk or the network of its reader.

LlamaIndex reads ``path`` and fetches ``url`` in the process of whoever resolves a block, and an
``ImageDocument`` does so while it is made. Whoever may write a shared cube must not choose what
that is, so the plain data is looked at before anything is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

_SCHEMES: Final = ("https", "data")
_MEDIA: Final = ("image", "audio", "video", "document")
_HOLDERS: Final = ("blocks", "content", "cited_content")
_RESOURCES: Final = ("text_resource", "image_resource", "audio_resource", "video_resource")
_FETCHES_WHEN_MADE: Final = "ImageDocument"
REMEDY: Final = "give the bytes themselves, or an https URL that every reader may fetch"


def barred_in_message(message: Mapping[str, Any]) -> str | None:
    """What a message, or a block that holds blocks, may not point at; ``None`` for nothing."""
    for block in _blocks(message):
        if block.get("block_type") in _MEDIA:
            barred = _barred(block.get("path"), block.get("url"))
        else:
            barred = barred_in_message(block)
        if barred:
            return barred
    return None


def barred_in_node(kind: str, node: Mapping[str, Any]) -> str | None:
    """What a node of this class may not point at; ``None`` for nothing."""
    if kind == _FETCHES_WHEN_MADE and node.get("image_url"):
        return "an image that is fetched when the node is made"
    holders = [node.get(each) for each in _RESOURCES]
    found = [_barred(node.get("image_path"), node.get("image_url"))]
    found += [_barred(h.get("path"), h.get("url")) for h in holders if isinstance(h, Mapping)]
    found.append(barred_in_dumped(node.get("obj")))
    return next((barred for barred in found if barred), None)


def barred_in_dumped(value: object) -> str | None:
    """The same for a node as LlamaIndex's document stores dump it; ``None`` for anything else."""
    held = value.get("__data__") if isinstance(value, Mapping) else None
    if not isinstance(held, Mapping):
        return None
    return barred_in_node(str(held.get("class_name")), held)


def _blocks(holder: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in _HOLDERS:
        held = holder.get(name)
        for each in held if isinstance(held, list) else [held]:
            if isinstance(each, Mapping):
                yield each


def _barred(path: object, url: object) -> str | None:
    if path:
        return "a local file"
    if not url:
        return None
    try:
        scheme = urlsplit(str(url)).scheme
    except ValueError:
        scheme = ""
    return None if scheme in _SCHEMES else "a URL that is not https"
