"""The terms of the ranking: each gives one value per memory, on an absolute scale, and says why.

Weights stand in ``ranking.py``. Which terms help, and in which order, was measured on
evidence-labelled conversations (``python -m bench quality --ablation``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from memos_integrations.infrastructure.backends.columns import Columns, Mark
from memos_integrations.operation.operator.pool import Floats, Pool

Values: TypeAlias = Callable[[Pool], Floats | None]
"""``None`` where no memory has any of it."""

_ADVICE_SHARE = 0.15
"""What is left of word matches in the surroundings when advice is asked for: ``"Where can I
find a Bengal cat?"`` shares no telling word with the preference for shelters that decides it."""


@dataclass(frozen=True, slots=True)
class RankSignal:
    """One term of the score. ``why`` may hold ``{value}``."""

    name: str
    values: Values
    why: str

    def says(self, value: float) -> str:
        """The value in words."""
        return self.why.format(value=value)


def _window(pool: Pool) -> Floats | None:
    return _trusted(pool, pool.window_words)


def _nearness(pool: Pool) -> Floats | None:
    return _trusted(pool, pool.near_words)


def _session(pool: Pool) -> Floats | None:
    return _trusted(pool, pool.session_words)


def _trusted(pool: Pool, around: Floats | None) -> Floats | None:
    if around is None or not pool.wants_advice:
        return around
    return around * np.float32(_ADVICE_SHARE)


def _speaker(pool: Pool) -> Floats | None:
    columns = pool.columns
    if columns is None or len(pool.speakers) != 1:
        return None
    return _of_rows(pool, columns.speaker.take(pool.rows) == pool.speakers[0])


def _said_then(pool: Pool) -> Floats | None:
    columns = pool.columns
    if columns is None or not pool.query.times:
        return None
    said = columns.time[pool.rows]
    then = [(said >= span.start) & (said < span.end) for span in pool.query.times]
    return _of_rows(pool, np.any(then, axis=0))


def _speaks_of(pool: Pool) -> Floats | None:
    columns = pool.columns
    if columns is None or not pool.query.times:
        return None
    named = [_speaking_of(columns, span.start, span.end) for span in pool.query.times]
    return _of_rows(pool, np.isin(pool.rows, np.concatenate(named)))


def _speaking_of(columns: Columns, start: int, end: int) -> NDArray[np.int32]:
    """Rows whose words name a time that lies within, or holds, the span asked about."""
    inside = (columns.span_start < end) & (columns.span_end > start)
    longest = max(end - start, _MONTH)  # "this year" is no answer to a question about a day
    return columns.span_row[inside & (columns.span_end - columns.span_start <= longest)]


_MONTH = 31 * 86_400 * 1_000_000


def _when(pool: Pool) -> Floats | None:
    return _marked(pool, Mark.TIME) if pool.query.wants_time else None


def _number(pool: Pool) -> Floats | None:
    return _marked(pool, Mark.NUMBER) if pool.query.wants_number else None


def _asks(pool: Pool) -> Floats | None:
    return _marked(pool, Mark.QUESTION)


def _assistant(pool: Pool) -> Floats | None:
    columns = pool.columns
    if columns is None or "assistant" not in columns.roles or pool.query.wants_assistant:
        return None
    return _of_rows(pool, columns.role.take(pool.rows) == columns.roles.index("assistant"))


def _marked(pool: Pool, mark: Mark) -> Floats | None:
    if pool.columns is None:
        return None
    return _of_rows(pool, pool.columns.marks.take(pool.rows) & int(mark) > 0)


def _of_rows(pool: Pool, flags: NDArray[np.bool_]) -> Floats:
    """1 where the flag of the memory's row is set; 0 where it has no row."""
    return (flags if pool.held is None else flags & pool.held).astype(np.float32)


def _graph(pool: Pool) -> Floats | None:
    return None if pool.linked is None else pool.linked.of(pool.items)


SIGNALS: tuple[RankSignal, ...] = (
    RankSignal("cosine", lambda pool: pool.cosine, "close in meaning ({value:.2f})"),
    RankSignal(
        "own_words",
        lambda pool: pool.parts[0],
        "its words alone are close to the question in the first person ({value:.2f})",
    ),
    RankSignal(
        "sentence",
        lambda pool: pool.parts[1],
        "its best sentence is close to the question ({value:.2f})",
    ),
    RankSignal(
        "words",
        lambda pool: pool.words,
        "shares words with the question ({value:.0%} of what it could)",
    ),
    RankSignal("window", _window, "with the turns around it, it shares {value:.0%} of the words"),
    RankSignal("nearness", _nearness, "it or a turn near it shares words (worth {value:.0%})"),
    RankSignal("session", _session, "a turn of its session shares {value:.0%} of the words"),
    RankSignal(
        "graph",
        _graph,
        "it names what the question names, or hangs together with what does (worth {value:.0%})",
    ),
    RankSignal("speaker", _speaker, "said by the one the question names"),
    RankSignal("said_then", _said_then, "said at the time in the question"),
    RankSignal("speaks_of", _speaks_of, "speaks of the time in the question"),
    RankSignal("when", _when, "names a time, as the question asks for one"),
    RankSignal("number", _number, "holds a number, as the question asks for one"),
    RankSignal("asks", _asks, "asks rather than tells"),
    RankSignal("assistant", _assistant, "said by an assistant, not told by a person"),
)
