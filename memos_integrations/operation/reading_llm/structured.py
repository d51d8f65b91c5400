"""Asks a language model for an object of a given shape, and trusts none of what comes back.

Called by whatever reads or summarises with a model (extraction, consolidation, reranking); calls
the ``LLM`` port. What is wrong with an answer is said in ``why``, never in the answer's words, so
it may stand in a task's status.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from memos_integrations.cube.ports import LLM, Completion
from memos_integrations.infrastructure.strict_json import JsonObject
from memos_integrations.operation.reading_llm.answer import MAX_ANSWER_CHARS, objects_in

T = TypeVar("T", bound=BaseModel)

_MAX_FAULTS = 5
_REPAIR = (
    "{prompt}\n\nYour answer before this one was rejected: {why}. "
    "Answer again with one JSON object that fits the schema, and nothing else."
)
_SHAPE = "\n\nAnswer with one JSON object that fits this JSON Schema, and nothing else:\n{schema}"


@dataclass(frozen=True, slots=True)
class Structured(Generic[T]):
    """A validated answer, or why there is none. Exactly one of ``value`` and ``why`` is set."""

    value: T | None
    why: str | None = None
    """``empty``, ``truncated``, ``too long``, ``no JSON object``, or where it breaks the shape."""
    calls: int = 1
    prompt_tokens: int = 0
    completion_tokens: int = 0


def structured(
    llm: LLM,
    prompt: str,
    model: type[T],
    *,
    system: str | None = None,
    max_tokens: int = 1024,
    repairs: int = 1,
    check: Callable[[T], str | None] | None = None,
) -> Structured[T]:
    """What ``llm`` answers to ``prompt`` as a ``model``, strictly validated, or why not.

    The schema is appended to the prompt and handed to the endpoint. JSON is taken out of fences
    and prose; an invalid answer is asked for again ``repairs`` times with what was wrong with it;
    a truncated one is not, as it would be cut again. ``check`` may refuse a value that fits the
    shape: it returns the reason, in words that quote nothing of the answer. Put limits on every
    list and string of ``model``. Raises ``LLMUnavailable`` as ``llm.complete`` does, so that a
    task is tried again later; nothing else that a model can answer raises.
    """
    schema = model.model_json_schema()
    asked = prompt + _SHAPE.format(schema=json.dumps(schema, ensure_ascii=False))
    why, calls, spent = "", 0, [0, 0]
    while calls <= repairs:
        words = asked if not why else _REPAIR.format(prompt=asked, why=why)
        answer = llm.complete(words, system=system, schema=schema, max_tokens=max_tokens)
        calls += 1
        spent[0] += answer.prompt_tokens or 0
        spent[1] += answer.completion_tokens or 0
        value, why = _read(answer, model, check)
        if value is not None:
            return Structured(value, None, calls, *spent)
        if why == "truncated":
            break
    return Structured(None, why, calls, *spent)


def _read(
    answer: Completion, model: type[T], check: Callable[[T], str | None] | None
) -> tuple[T | None, str]:
    if answer.truncated:
        return None, "truncated"
    if not answer.text.strip():
        return None, "empty"
    if len(answer.text) > MAX_ANSWER_CHARS:
        return None, "too long"
    found = objects_in(answer.text)
    if not found:
        return None, "no JSON object"
    return _only_valid(found, model, check)


def _only_valid(
    found: list[JsonObject], model: type[T], check: Callable[[T], str | None] | None
) -> tuple[T | None, str]:
    """The one object that is valid. Of two different ones, none: which was meant is a guess."""
    valid: list[T] = []
    why = ""
    for one in found:
        value, fault = _validated(one, model)
        fault = fault or (check(value) if check and value is not None else None) or ""
        if value is not None and not fault:
            valid.append(value)
        why = why or fault
    if len(valid) == 1:
        return valid[0], ""
    return None, "several different answers" if valid else why


def _validated(found: JsonObject, model: type[T]) -> tuple[T | None, str]:
    try:
        # Through JSON, so that strict still reads an enum or a date from its string.
        return model.model_validate_json(json.dumps(found), strict=True), ""
    except ValidationError as error:
        return None, _faults(error, model)


def _faults(error: ValidationError, model: type[BaseModel]) -> str:
    """Where and how the answer breaks the shape. Names it made up are not repeated."""
    known = _names(model.model_json_schema())
    faults = [
        f"{'.'.join(str(x) if isinstance(x, int) or x in known else '?' for x in fault['loc'])}"
        f" {fault['type']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f" and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
    return "; ".join(faults[:_MAX_FAULTS]) + more


def _names(schema: object) -> set[str]:
    """Every key of a schema: among them the names of its fields."""
    if isinstance(schema, dict):
        inner = set[str]().union(*map(_names, schema.values())) if schema else set[str]()
        return inner | {str(key) for key in schema}
    if isinstance(schema, list):
        return set[str]().union(*map(_names, schema)) if schema else set[str]()
    return set()
