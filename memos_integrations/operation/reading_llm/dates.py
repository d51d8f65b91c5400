"""A date as a language model writes it, as the stretch of time it means."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from memos_integrations.cube.facts import Grain, TimeSpan
from memos_integrations.cube.ids import to_micros

_ISO = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})"
    r"(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|\+00:00)?)?)?)?"
)


def iso_span(text: str, *, at: int, to: int) -> TimeSpan | None:
    """The UTC interval of ``2026``, ``2026-05``, ``2026-05-08`` or ``2026-05-08T09:30``.

    ``at`` and ``to`` are where the words stand that say it. ``None`` for what is no such date.
    """
    found = _ISO.fullmatch(text.strip())
    if found is None:
        return None
    parts = {name: int(digits) for name, digits in found.groupdict().items() if digits}
    try:
        start = datetime(tzinfo=UTC, **({"month": 1, "day": 1} | parts))
        end, grain = _end(start, parts)
    except (ValueError, OverflowError):
        return None
    return TimeSpan(to_micros(start), to_micros(end), grain, at, to)


def _end(start: datetime, parts: dict[str, int]) -> tuple[datetime, Grain]:
    if "hour" in parts:
        return start + timedelta(minutes=1), "minute"
    if "day" in parts:
        return start + timedelta(days=1), "day"
    if "month" in parts:
        return (start + timedelta(days=32)).replace(day=1), "month"
    return start.replace(year=start.year + 1), "year"
