"""What a local model answers: its new tokens as text, at once or piece by piece.

Needs torch and transformers (extra ``activation``).
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.errors import MissingExtra

try:
    import torch
    from transformers import StoppingCriteriaList, TextIteratorStreamer
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error


@dataclass(frozen=True, slots=True)
class Generated:
    """The answer, without the prompt and special tokens."""

    text: str
    ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return len(self.ids)


def generate(
    model: Any, tokenizer: Any, inputs: Mapping[str, Any], options: Mapping[str, Any]
) -> Generated:
    """The whole answer. ``options`` are those of ``model.generate``."""
    start = inputs["input_ids"].shape[1]
    with torch.no_grad():
        ids = model.generate(**inputs, **options)[0, start:]
    return Generated(tokenizer.decode(ids, skip_special_tokens=True), tuple(ids.tolist()))


class Pieces:
    """The answer as it comes, to be read once. ``ids`` are its tokens when it has ended.

    ``close`` stops the model after the token at hand. Reading raises what ``model.generate``
    raises, after what came before it.
    """

    def __init__(
        self, model: Any, tokenizer: Any, inputs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self.ids: tuple[int, ...] = ()
        self._source = self._read(_pieces(model, tokenizer, inputs, options))

    def __iter__(self) -> Iterator[str]:
        return self._source

    def close(self) -> None:
        self._source.close()

    def _read(self, source: Generator[str, None, tuple[int, ...]]) -> Generator[str]:
        self.ids = yield from source


def _pieces(
    model: Any, tokenizer: Any, inputs: Mapping[str, Any], options: Mapping[str, Any]
) -> Generator[str, None, tuple[int, ...]]:
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    stop, failed = threading.Event(), list[BaseException]()
    start, ids = inputs["input_ids"].shape[1], list[int]()

    def unwanted(input_ids: Any, scores: Any, **_: Any) -> Any:
        return torch.full((input_ids.shape[0],), stop.is_set(), device=input_ids.device)

    def work() -> None:
        try:
            with torch.no_grad():
                done = model.generate(
                    **inputs,
                    **options,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([unwanted]),
                )
            ids.extend(done[0, start:].tolist())
        except BaseException as error:  # noqa: BLE001  -- raised again where the pieces are read
            failed.append(error)
            streamer.end()

    thread = threading.Thread(target=work, name="memos-generate", daemon=True)
    thread.start()
    try:
        for piece in streamer:
            if piece:
                yield piece
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
    return tuple(ids)
