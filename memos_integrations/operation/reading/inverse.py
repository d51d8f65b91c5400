"""What others do to one: ``Bosch employs me``, ``Petra manages me``, ``Bosch pays my salary``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import shapes
from memos_integrations.operation.reading.clauses import Clause, within
from memos_integrations.operation.reading.frames import Told, fact, filling, values_of
from memos_integrations.operation.reading.naming import Naming, spaced
from memos_integrations.operation.reading.vocabulary import NO_NAMES, RELATIONS

_INVERSE = spaced(
    r" (?:now |currently |recently |just |has |have |since )*(?:(?P<employs>employs|employ|hired|employed|pays"
    r"|recruited|took on|signed on|gives work to|poached|headhunted)|(?P<leads>manages|supervises|oversees|line-manages)"
    r"|(?P<took>took|taken)(?= me on)) (?P<who>me|us|my (?P<kin>[a-z]+)|(?P<name>[a-z][\w-]+))(?: on)?"
    r"(?P<as> (?:on )?as (?:an? |the |their )?)?"
)
_PAYS = spaced(r" (?:now |currently )?(?:pays? my (?:bills|salary|wages|rent)|signs my pay[a-z]+)")


def facts(clause: Clause) -> Iterator[Fact]:
    """``Bosch employs me``, ``Bosch hired my brother as a cook``, ``Petra manages me``."""
    yield from (fact(clause, told) for told in _told(clause))


def _told(clause: Clause) -> Iterator[Told]:
    pays = _PAYS.search(clause.folded, clause.at, clause.to)
    if pays is not None:
        naming = Naming(clause.me, "works_at", shapes.company)
        yield from (
            Told(naming, v, False) for v in filling(naming, within(clause, pays.start()), clause.at)
        )
        return
    found = _INVERSE.search(clause.folded, clause.at, min(clause.to, clause.at + 120))
    who = _employed(clause, found) if found is not None else None
    if found is None or who is None:
        return
    leads = Naming(who, "boss", shapes.person) if found["leads"] else None
    naming = leads or Naming(who, "works_at", shapes.company)
    firm = filling(naming, within(clause, found.start()), clause.at)
    if not firm or not (found["as"] or shapes.ends(clause, found.end())):
        return
    yield Told(naming, firm[0], False, begins=not leads)
    if found["as"]:
        job = Naming(who, "works_as", shapes.occupation)
        for value in values_of(job, clause, found.end()):
            yield Told(job, value, False, begins=True)


def _employed(clause: Clause, found: re.Match[str]) -> str | None:
    if found["kin"]:
        return f"{clause.me}'s {found['kin']}" if found["kin"] in RELATIONS else None
    if found["name"]:
        name = clause.turn.text[found.start("name") : found.end("name")]
        return name if name[0].isupper() and name.lower() not in NO_NAMES else None
    return clause.me
