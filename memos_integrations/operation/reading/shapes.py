"""Values that must speak for themselves, where no verb before them says what they are.

``My employer is great`` names no employer: here a firm needs a capital or the word for a kind of
firm, a home needs a known form, a job must be one. Stricter than ``values``, which follows a verb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

from memos_integrations.operation.reading import values
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.entities import PLACES
from memos_integrations.operation.reading.numbers import WORDS
from memos_integrations.operation.reading.phrasing import birthday_of
from memos_integrations.operation.reading.stating import GAP
from memos_integrations.operation.reading.values import Value
from memos_integrations.operation.reading.vocabulary import (
    DIETS,
    NATIONALITIES,
    NO_NAMES,
    STATUSES,
)

Shape: TypeAlias = Callable[[Clause, int], "Value | None"]

OPINIONS = frozenset(
    "great good bad hard easy boring fun nice cool lovely awful terrible amazing awesome stressful "
    "busy fine ok okay perfect horrible fantastic wonderful beautiful ugly small big huge tiny old "
    "new expensive cheap far near close gone broken lost changing changed ruined unknown none "
    "nothing n/a na tbd nil null pending private secret undecided various unclear different same "
    "interesting exciting tough difficult tricky complicated simple useless pointless real dead "
    "alive safe dangerous toxic chaos hell heaven mess unimportant important irrelevant obvious "
    "gross weird odd strange crazy insane mad silly stupid funny sad happy annoying loud quiet "
    "cute late early ready done open closed cancelled here there home away everywhere nowhere yes "
    "no maybe better worse best worst growing getting going empty full warm cold hot wild "
    "confidential optional required demanding rewarding tiring exhausting under no-one nobody".split()
)
_LEAD = re.compile(r"(?:(?:an?|the|my|our|being|that of|to be|as)\s)*")
_VAGUE = re.compile(
    r"(?:hard|difficult|tricky|easy|impossible|too|so|very|pretty|quite|really|always|never|none"
    r"|not|something|anything|whatever|whichever|still|a\ssecret|the\sone|the\ssame|up\sto|about|like"
    r"|more|less|no\s|any\s|every|all\s|both|either|neither|because|when|where|there|here|over|on\s"
    r"|at\s|in\s|for\s|with\s|by\s|under\s|to\s|getting|changing|becoming|being|ruined|gone"
    r"|(?:i|we|you|he|she|they|it|that|this)\b)"
)
_KIND_OF_FIRM = re.compile(
    r"\b(?:hospital|clinic|school|university|college|bakery|bank|restaurant|caf[eé]|bar|hotel|library"
    r"|council|government|ministry|army|navy|police|museum|theatre|theater|zoo|shop|store|supermarket"
    r"|factory|plant|firm|company|start-?up|agency|studio|charity|ngo|church|newspaper|magazine"
    r"|brewery|farm|garage|lab|laboratory|institute|airport|airline|railway|post office|pharmacy"
    r"|kindergarten|nursery|practice|consultancy|publisher|court|embassy|gallery|gym|salon|bookshop"
    r"|insurer|insurance company|utility|foundation|cooperative|co-op|state|city|county)$"
)
_OVER = re.compile(r"[\s,.!;?]*(?:$|(?:now|these|at|right|currently|since|for|too|as|and|but|in|from|though"
                   r"|again|already|today|instead|,|\.|by|of|until|where|because|nowadays)\b)")  # fmt: skip


_INSIDE = re.compile(
    r"(?:(?:an?|our|my|this|that)\s(?:[a-z-]+\s){0,3}?(?:flat|apartment|house|room|studio|cottage|place|condo|farm|village|town"
    r"|suburb)\s)?(?:in|near|at)\s(?:the\s(?:city|town|village)\sof\s)?"
)


def home(clause: Clause, at: int) -> Value | None:
    """A place: with a capital, or a well-known one in lower case."""
    inside = _INSIDE.match(clause.folded, at, clause.to)
    at = inside.end() if inside else at
    found = values.place(clause, at)
    if found is None or _is_no_name(found.text):
        return None
    if found.text[0].islower() and found.text not in PLACES and found.text.isascii():
        return None
    return found


def _is_no_name(text: str) -> bool:
    first = text.lower().split()[0]
    return first in OPINIONS or first in NO_NAMES or first in NATIONALITIES


def company(clause: Clause, at: int) -> Value | None:
    """A firm: a name with a capital, or a kind of firm (``a small bakery``)."""
    found = values.organisation(clause, at)
    if found is None:
        found = _lower_firm(clause, at)
    if found is None or _is_no_name(found.text):
        return None
    capital = found.text[0].isupper() or not found.text.isascii()
    kind = _KIND_OF_FIRM.search(found.text.lower())
    opinion = set(found.text.lower().split()) & (OPINIONS - {"small", "big", "old", "new", "huge"})
    if capital or (kind is not None and not opinion):
        return found
    return found if clause.lower and " " not in found.text else None


def _lower_firm(clause: Clause, at: int) -> Value | None:
    if not clause.lower:
        return None
    found = values.phrase(clause, at)
    return found if found is not None and found.at == at and " " not in found.text else None


def occupation(clause: Clause, at: int) -> Value | None:
    """An occupation after words that say that it is one."""
    lead = _LEAD.match(clause.folded, at, clause.to)
    at = lead.end() if lead else at
    return values.job(clause, at, strong=True)


def known_job(clause: Clause, at: int) -> Value | None:
    """An occupation of the list, where no word says that it is one."""
    return values.job(clause, at)


def named_firm(clause: Clause, at: int) -> Value | None:
    """A firm by its name alone."""
    found = company(clause, at)
    return found if found is not None and found.at == at and found.text[0].isupper() else None


def age(clause: Clause, at: int) -> Value | None:
    """A number of years."""
    found = re.compile(r"(?P<n>[0-9]{1,3}|[a-z]+(?:-[a-z]+)?)(?![\w%-])").match(
        clause.folded, at, clause.to
    )
    if found is None:
        return None
    words = found["n"].split("-")
    if found["n"].isdigit():
        number = int(found["n"])
    elif all(word in WORDS for word in words):
        number = sum(WORDS[word] for word in words)
    else:
        return None
    return Value(str(number), at, found.end()) if 0 < number < 125 else None


def birthday(clause: Clause, at: int) -> Value | None:
    """The day of a year."""
    for span in clause.times:
        if at - 4 <= span.at <= at + 12 and span.grain == "day":
            return Value(birthday_of(span), span.at, span.to)
    return None


def _one_of(words: frozenset[str], clause: Clause, at: int) -> Value | None:
    found = re.compile(r"(?:strictly\s|mostly\s|fully\s|an?\s|currently\s)*(?P<v>[a-z-]+)").match(
        clause.folded, at, clause.to
    )
    if found is None or found["v"] not in words:
        return None
    start, end = found.span("v")
    return Value(clause.turn.text[start:end], start, end)


def nationality(clause: Clause, at: int) -> Value | None:
    """A nationality."""
    return _one_of(NATIONALITIES, clause, at)


def status(clause: Clause, at: int) -> Value | None:
    """Married, single, and so on."""
    return _one_of(STATUSES, clause, at)


def diet(clause: Clause, at: int) -> Value | None:
    """A named diet."""
    return _one_of(DIETS, clause, at)


def person(clause: Clause, at: int) -> Value | None:
    """Somebody's name; in lower case only after ``called``."""
    found = values.name(clause, at)
    if found is not None and not _is_no_name(found.text):
        return None if clause.folded.startswith("'s", found.to, clause.to) else found
    called = clause.folded[max(0, at - 7) : at].endswith(("called ", "named "))
    if not called or not clause.lower:
        return None
    found = values.phrase(clause, at)
    return found if found is not None and found.at == at and " " not in found.text else None


def listed(clause: Clause, at: int) -> Iterator[Value]:
    """Things in a list, none of them an opinion."""
    if _VAGUE.match(clause.folded, at, clause.to):
        return
    only = re.compile(r"(?:mainly|only|just|also|mostly|definitely|to)\s").match(
        clause.folded, at, clause.to
    )
    parts = _by_commas(clause, only.end() if only else at)
    if not any(set(part.text.lower().split()) <= OPINIONS for part in parts):
        yield from parts


_COMMAS = re.compile(r"\s*[,;/]\s*(?:and\s)?|\s+(?:and|&)\s+")


def _by_commas(clause: Clause, at: int) -> list[Value]:
    """``nuts, shellfish`` without an ``and`` is a list as well, where nothing else follows."""
    whole = clause.turn.text[at : clause.to].rstrip(" .!")
    if "," not in whole or len(whole) > 120:
        return list(values.several(clause, at))
    found: list[Value] = []
    begun = at
    for cut in [*_COMMAS.finditer(clause.turn.text, at, at + len(whole)), None]:
        end = at + len(whole) if cut is None else cut.start()
        part = values.phrase(clause, begun, to=end)
        if part is None or len(part.text.split()) > 3 or part.to < end:
            return list(values.several(clause, at))
        found.append(part)
        begun = end if cut is None else cut.end()
    return found


def favoured(clause: Clause, at: int) -> Value | None:
    """A favourite: any phrase that is no remark about it."""
    if _VAGUE.match(clause.folded, at, clause.to):
        return None
    found = values.phrase(clause, at)
    if found is None or set(found.text.lower().split()) <= OPINIONS:
        return None
    return found


def vehicle(clause: Clause, at: int) -> Value | None:
    """A car by its make, or the word for a kind of vehicle."""
    if _VAGUE.match(clause.folded, at, clause.to):
        return None
    found = values.phrase(clause, at)
    if found is None or len(found.text.split()) > 4:
        return None
    named = any(word[0].isupper() for word in found.text.split())
    kind = re.search(r"\b(?:van|truck|pickup|hatchback|estate|convertible|suv|motorbike|scooter|minivan"
                     r"|hybrid|electric car|station wagon|camper)$", found.text.lower())  # fmt: skip
    if set(found.text.lower().split()) <= NATIONALITIES:
        return None
    return found if named or kind else None


def language(clause: Clause, at: int) -> Iterator[Value]:
    """Languages."""
    return values.language(clause, at)


_MASKED = re.compile(r"\[[a-z]+:[a-z_ -]+\]")


def masked(clause: Clause, at: int) -> Value | None:
    """What a detector has covered: a number, an address."""
    found = _MASKED.search(clause.turn.text, at, min(clause.to, at + 60))
    return Value(found[0], found.start(), found.end()) if found else None


def never(clause: Clause, at: int) -> Value | None:
    """Nothing: the noun has its value before it (``opera isn't my thing``)."""
    return None


def ends(clause: Clause, at: int) -> bool:
    """Whether nothing follows that could turn the value into something else."""
    dated = any(0 <= span.at - at <= GAP for span in clause.times)
    return dated or _OVER.match(clause.folded, at, clause.to) is not None
