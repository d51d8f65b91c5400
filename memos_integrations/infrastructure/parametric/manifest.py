"""What stands in an adapter's file beside its tensors, as strict JSON, and what it may say.

Pure: the registry reads it without torch. Nothing in it names code or is handed to a library as
it stands; the library's configuration is made anew from the few values that are checked here.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence

from pydantic import TypeAdapter, ValidationError

from memos_integrations.cube.errors import HostileArchive
from memos_integrations.infrastructure.parametric.errors import AdapterRefused
from memos_integrations.infrastructure.parametric.recipe import Figures, Manifest, Recipe
from memos_integrations.infrastructure.strict_json import JsonObject, decode_object, encode_object

MAX_RANK = 256
MAX_INVOCATION = 64
"""Tokens of an invocation; real ones have two to ten."""

_MAX_BYTES = 2**20
_MAX_DEPTH = 4
_MAX_TOKEN = 2**31 - 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TARGET = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PARSER = TypeAdapter(Manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """Its one form as JSON. Raises ``AdapterRefused`` for values that ``decode_manifest`` would."""
    _ensure_sound(manifest)
    return encode_object(dataclasses.asdict(manifest))


def decode_manifest(raw: bytes) -> Manifest:
    """The manifest in ``raw``, or ``AdapterRefused``: unknown, missing or doubled keys, values of
    another type, and numbers that no training has."""
    try:
        if len(raw) > _MAX_BYTES:
            raise AdapterRefused(f"its manifest has more than {_MAX_BYTES} bytes")
        told = decode_object(raw, max_depth=_MAX_DEPTH, what="the manifest")
        manifest = _PARSER.validate_json(raw, strict=True)
    except (HostileArchive, ValidationError) as error:
        raise AdapterRefused("its manifest is not one of ours") from error
    _ensure_sound(manifest)
    if _as_json(manifest) != told:
        raise AdapterRefused("its manifest has keys that mean nothing here")
    return manifest


def invocation_start(tokens: Sequence[int], invocation: Sequence[int]) -> int | None:
    """Where the invocation begins in a prompt: its last occurrence, as peft looks for it.

    What stands before is the base's, so a cache that ends there serves under every adapter.
    """
    size, wanted = len(invocation), tuple(invocation)
    for start in range(len(tokens) - size, -1, -1):
        if tuple(tokens[start : start + size]) == wanted:
            return start
    return None


def _as_json(manifest: Manifest) -> JsonObject:
    return decode_object(encode_manifest(manifest), max_depth=_MAX_DEPTH, what="the manifest")


def _ensure_sound(manifest: Manifest) -> None:
    for wrong in _wrong(manifest):
        raise AdapterRefused(f"its manifest names {wrong}")


def _wrong(manifest: Manifest) -> Iterable[str]:
    if not all(_DIGEST.fullmatch(each) for each in (manifest.base, manifest.data)):
        yield "a digest that is none"
    if not 0 < len(manifest.invocation) <= MAX_INVOCATION:
        yield f"an invocation that has not from 1 to {MAX_INVOCATION} tokens"
    if not all(0 <= each <= _MAX_TOKEN for each in manifest.invocation):
        yield "a token that is none"
    if len(manifest.verdict.why) > 100 or any(len(each) > 1000 for each in manifest.verdict.why):
        yield "more reasons than a verdict has"
    yield from _wrong_recipe(manifest.recipe)
    yield from _wrong_figures(manifest.figures)


def _wrong_recipe(recipe: Recipe) -> Iterable[str]:
    if not 1 <= recipe.rank <= MAX_RANK:
        yield f"a rank that is not from 1 to {MAX_RANK}"
    if not 1 <= recipe.alpha <= 64 * MAX_RANK:
        yield "an alpha out of range"
    if not (0 <= recipe.seed < 2**63 and 1 <= recipe.exposures <= 10**6):
        yield "a seed or a number of exposures out of range"
    if not 1 <= recipe.batch <= 4096:
        yield "a batch out of range"
    if not (0 < recipe.learning_rate <= 1 and 0 <= recipe.replay_weight <= 1000):
        yield "a learning rate or a weight out of range"
    if not 0 < len(recipe.targets) <= 32 or len(set(recipe.targets)) != len(recipe.targets):
        yield "no layers, or one twice"
    if not all(_TARGET.fullmatch(each) for each in recipe.targets):
        yield "a layer whose name is none"


def _wrong_figures(figures: Figures) -> Iterable[str]:
    if not all(math.isfinite(each) for each in dataclasses.astuple(figures)):
        yield "a figure that is no number"
