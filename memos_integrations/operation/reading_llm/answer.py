"""The JSON object in what a language model answered, or why there is none.

Called by ``structured``. Small models wrap JSON in fences, prose and drafts; taking it out, and
dropping a comma before a closing bracket, cannot change what was said. Nothing else is repaired:
half an answer is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_integrations.cube.errors import HostileArchive
from memos_integrations.infrastructure.strict_json import JsonObject, decode_object

MAX_ANSWER_CHARS = 400_000
_MAX_DEPTH = 12
_MAX_STARTS = 64
_MAX_UNCLOSED = 4  # each costs a walk to the end of the text
_THOUGHTS = re.compile(r"<think>.*?</think>|^.*</think>", re.DOTALL)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\]]', re.DOTALL)
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)


def objects_in(text: str) -> list[JsonObject]:
    """Every JSON object that stands in ``text``, outermost only, in order, without repeats."""
    words = _THOUGHTS.sub("", text[:MAX_ANSWER_CHARS]).strip().lstrip("\ufeff")
    found: list[JsonObject] = []
    for piece in _pieces(words):
        value = _decoded(piece)
        if value is not None and value not in found:
            found.append(value)
    return found


def _pieces(words: str) -> Iterator[str]:
    """Balanced ``{...}`` stretches from left to right; one inside another is not its own."""
    start, unclosed = words.find("{"), 0
    for _ in range(_MAX_STARTS):
        if start < 0 or unclosed > _MAX_UNCLOSED:
            return
        end = _end_of(words, start)
        if end is None:
            unclosed += 1
        else:
            yield words[start:end]
        start = words.find("{", start + 1 if end is None else end)


def _end_of(words: str, start: int) -> int | None:
    """One past the bracket that closes the one at ``start``; brackets in strings do not count."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(words, start):
        mark = match.group()
        if mark in "{[":
            depth += 1
        elif mark in "}]":
            depth -= 1
            if depth == 0:
                return match.end()
    return None


def _decoded(piece: str) -> JsonObject | None:
    for words in (piece, _STRING_OR_COMMA.sub(_without_comma, piece)):
        try:
            return decode_object(
                words.encode("utf-8", "surrogatepass"), max_depth=_MAX_DEPTH, what="answer"
            )
        except HostileArchive:
            continue
    return None


def _without_comma(match: re.Match[str]) -> str:
    return "" if match.group() == "," else match.group()
