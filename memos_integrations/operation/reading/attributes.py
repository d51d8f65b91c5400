"""Attributes of people: home, work, family, age, languages, what they own, eat and drink."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import values
from memos_integrations.operation.reading.attribute_table import TABLE
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.numbers import WORDS
from memos_integrations.operation.reading.phrasing import birthday_of
from memos_integrations.operation.reading.stating import attributed, stated
from memos_integrations.operation.reading.timeline import DAY
from memos_integrations.operation.reading.vocabulary import (
    CARS,
    DIETS,
    LEVELS,
    NATIONALITIES,
    RELATIONS,
    STATUSES,
)

_AGE = re.compile(
    r"(?:(?:turned|turning) )?(?P<age>[0-9]{1,3}|[a-z]+(?:-[a-z]+)?)"
    r"(?P<old>(?: years?(?: |-)old| years of age| yrs? old| yo\b))?(?=[.!,;]|\s+(?:now|and|today|this"
    r"|yesterday|last|years)\b|$)".replace(" ", r"\s")
)
_KIND = re.compile(
    r"(?:an? )?(?:(?:[a-z]+ly|strict|lifelong|committed|proud|devoted|devout|life-long|longtime|long-time) )?"
    r"(?P<word>[a-z-]+)(?P<after>[ a-z]*)".replace(" ", r"\s")
)
_BECAME = re.compile(r"(?:went|became|gone|turned)\s(?:an?\s)?(?P<diet>[a-z-]+)\b")
_BEEN = re.compile(r"been\s(?:an?|the)\s")
_SKILL = re.compile(
    r"(?:an? )?(?:(?:complete|total|absolute|real|bit of a|seasoned|advanced) )?"
    r"(?P<level>beginner|novice|newbie|expert|amateur|intermediate|pro|new|proficient|advanced"
    r"|experienced)(?: level)? (?:in|at|with|to|on) ".replace(" ", r"\s")
)
_HAVE_NAMED = re.compile(
    r"(?:have |has |got )?(?:an? |one |two |three |our )?(?:[a-z-]+ ){0,2}?(?P<what>[a-z]+?)s?,? "
    r"(?:named|called|whose name is|by the name of|who goes by|who is called|who's called) ".replace(
        " ", r"\s"
    )
)
_HAVE = re.compile(
    r"(?:have |has )?(?P<n>an?|one|two|three|four|five|six|seven|eight|no|[0-9]{1,2}) "
    r"(?:(?:little|big|older|younger|twin|adult|grown|young|lovely|cute|new|adorable|small|rescue"
    r"|beautiful|black|white|golden) ){0,2}"
    r"(?P<what>kids?|child|children|sons?|daughters?|brothers?|sisters?|siblings?|grandchildren"
    r"|dogs?|cats?|pets?|puppy|puppies|kittens?|horses?|rabbits?|parrots?|hamsters?)"
    r"(?=[.!,;]|\s+(?:and|at|who|now|too|that|in)\b|$)".replace(" ", r"\s")
)
_HAVE_THEN_NAME = re.compile(
    r"(?:have |has )?an? (?:[a-z-]+ ){0,2}?(?P<what>[a-z]+), (?=[a-z][\w-]+(?: and [a-z][\w-]+)?[\s.!]*$)".replace(
        " ", r"\s"
    )
)
_YEARS_OLD = re.compile(r"(?:an? )?(?P<n>[0-9]{1,3})[\s-]years?[\s-]old\b(?P<after>\s(?=[a-z]))?")
_DIETING = re.compile(
    r"(?:been |gone |turned |become )?(?:(?:follow|keep to|stick to|keep|eat|live on|on|switched to|went on|gone on|moved to"
    r"|adopted|started|following|eating|keeping)s? )?(?:an? |to )?(?:(?:strictly|mostly|fully|strict|mostly|full|completely)"
    r" )*(?P<diet>[a-z-]+)(?P<food> diet| food| only)?(?=[\s.,!;]|$)".replace(" ", r"\s")
)
_INTOLERANT = re.compile(r"(?P<what>[a-z]+)[\s-]intolerant\b")
_ALLERGY = re.compile(
    r"(?:(?:have|has|developed|suffers? from|suffering from) )?(?:an? )?(?:(?:severe|bad|mild|serious|strong"
    r"|nasty|terrible) )?(?P<what>(?!developed|suffer|have)[a-z]+(?: (?!an?\b)[a-z]+)?)"
    r" (?:allergy|allergies|intolerance)\b(?! to\b)".replace(" ", r"\s")
)


_DIETS = frozenset(
    "been gone turned become follow keep stick eat eats live on switched went moved adopted started following eating "
    "keeping follows keeps strictly mostly fully".split()
) | frozenset(word.split("-")[0] for word in DIETS)


def facts(clause: Clause) -> Iterator[Fact]:
    """The attributes a clause with a subject states."""
    if clause.relation and clause.owner:
        yield from _relation(clause)
    if clause.aux in {"be", "was", "have", ""}:
        yield from _be(clause)
    dieting = (
        _DIETING.match(clause.folded, clause.rest, clause.to) if clause.head in _DIETS else None
    )
    if dieting is not None and dieting["diet"] in DIETS and _dieting(clause, dieting):
        yield attributed(clause, "diet", dieting["diet"], negated=clause.denied)
        return
    became = _BECAME.match(clause.folded, clause.rest, clause.to)
    if became is not None and clause.aux in {"", "have"} and became["diet"] in DIETS:
        yield attributed(clause, "diet", became["diet"], negated=clause.denied, begins=True)
        return
    if clause.aux in {"have", "", "do", "does"}:
        found = list(_have(clause))
        yield from found
        if found:
            return
    yield from stated(clause, TABLE)


def _dieting(clause: Clause, found: re.Match[str]) -> bool:
    """Whether words name a diet that is kept: ``on a keto diet``, ``eat halal``, ``been vegan``."""
    verb = found.start("diet") > found.start()
    return clause.aux in {"", "have", "be", "do"} and (verb or bool(found["food"])) and not (
        clause.aux == "be" and found[0].startswith(("an ", "a "))
    )  # fmt: skip


def _relation(clause: Clause) -> Iterator[Fact]:
    """``my brother Tom ...`` says who the brother is, whatever follows."""
    if clause.subject.startswith(f"{clause.owner}'s "):
        return
    yield attributed(clause, clause.relation, clause.subject, subject=clause.owner)


def _be(clause: Clause) -> Iterator[Fact]:
    """``I'm 30``, ``I'm Italian``, ``I'm a vegan``, ``she is a nurse``, ``I'm married``."""
    if clause.aux == "was":
        yield from _born(clause)
        return
    old = _YEARS_OLD.match(clause.folded, clause.rest, clause.to)
    if old is not None and clause.aux == "be":
        yield attributed(clause, "age", old["n"], negated=clause.denied)
        job = values.job(clause, old.end()) if old["after"] else None
        if job is not None:
            yield attributed(clause, "works_as", job.text, negated=clause.denied)
        return
    aged = _AGE.match(clause.folded, clause.rest, clause.to)
    if aged is not None and (age := _age(aged, clause.aux)) is not None:
        yield attributed(clause, "age", age, negated=clause.denied)
        return
    if clause.aux != "be":
        yield from _been(clause)
        return
    skill = _SKILL.match(clause.folded, clause.rest, clause.to)
    if skill is not None:
        value = values.phrase(clause, skill.end())
        if value is not None:
            link = "to" if skill["level"] == "new" else "in"
            said = f"{skill['level']} {link} {value.text}"
            article = "an" if said[0] in "aei" else "a"
            noun = skill["level"] in LEVELS or skill["level"] == "pro"
            yield attributed(
                clause, "skill", f"{article} {said}" if noun else said, negated=clause.denied
            )
        return
    yield from _be_word(clause)


_HAVE_CAR = re.compile(
    r"(?:(?:have|has|got|bought|own|owns)(?: (?:myself|ourselves|himself|herself))? )?(?:an? )(?P<v>(?:(?:used|new|second-hand|old|little|small|red|blue"
    r"|black|white|silver|green|grey|gray|electric|brand new) ){0,2}(?P<make>[a-zéë]+)(?: [a-z0-9]+)?)(?=[\s.,!]*$|,| and | that | from )".replace(
        " ", r"\s"
    )
)
_PAPERS = re.compile(
    r"(?:have |has |hold |holds |got )?(?:an? |dual |both )?(?P<v>[a-z]+) (?:citizenship|passport|nationality|roots)\b".replace(
        " ", r"\s"
    )
)


def _been(clause: Clause) -> Iterator[Fact]:
    """``I've been a nurse for ten years``."""
    been = _BEEN.match(clause.folded, clause.rest, clause.to) if clause.aux == "have" else None
    value = values.job(clause, been.end()) if been is not None else None
    if value is not None:
        yield attributed(clause, "works_as", value.text, negated=clause.denied)


def _born(clause: Clause) -> Iterator[Fact]:
    """``I was born on 3 March 1990``: the day of the birthday."""
    if clause.head == "born":
        for span in clause.times:
            if span.grain == "day" and span.end - span.start == DAY:
                yield attributed(clause, "birthday", birthday_of(span))
                return


def _age(match: re.Match[str], aux: str) -> str | None:
    words, turned = match["age"], match[0].startswith("turn")
    if aux == "" and not turned:
        return None
    if words.isdigit():
        return (
            words if 0 < int(words) < 125 and (match["old"] or turned or int(words) > 12) else None
        )
    parts = words.split("-")
    if all(part in WORDS for part in parts) and (match["old"] or turned or len(parts) == 2):
        return str(sum(WORDS[part] for part in parts))
    return None


def _be_word(clause: Clause) -> Iterator[Fact]:
    found = _KIND.match(clause.folded, clause.rest, clause.to)
    if found is None:
        return
    intolerant = _INTOLERANT.match(clause.folded, clause.rest, clause.to)
    if intolerant is not None:
        yield attributed(clause, "diet", f"{intolerant['what']} intolerant", negated=clause.denied)
        return
    word, alone = found["word"], not found["after"].strip()
    kind = (
        "diet" if word in DIETS else "nationality" if word in NATIONALITIES
        else "relationship_status" if word in STATUSES else ""
    )  # fmt: skip
    follows = found["after"].split()[:1]
    free = alone or follows[0] in {"and", "now", "so", "but", "because", "since", "by", "these"}
    if kind and (free or (kind == "diet" and word in {"vegan", "vegetarian"})):
        at = found.start("word")
        text = clause.turn.text[at : at + len(word)]
        yield attributed(clause, kind, text, negated=clause.denied)
        return
    article = re.compile(r"(?:an?|the)\s").match(clause.folded, clause.rest, clause.to)
    if article is not None:
        value = values.job(clause, article.end())
        if value is not None:
            yield attributed(clause, "works_as", value.text, negated=clause.denied)
            yield from _at_work(clause, value.to)


def _at_work(clause: Clause, at: int) -> Iterator[Fact]:
    """``a nurse at Charité``: where as well as what."""
    link = re.compile(r"\s(?:at|for|with)\s(?!home|heart|the moment)").match(
        clause.folded, at, clause.to
    )
    value = values.organisation(clause, link.end()) if link else None
    if value is not None:
        studies = clause.folded[:at].endswith(("student", "pupil"))
        where = "studies_at" if studies else "works_at"
        yield attributed(clause, where, value.text, negated=clause.denied)


def _relation_word(found: re.Match[str]) -> str | None:
    """``sisters`` and ``boss``: only one of them has lost an ``s`` in the match."""
    words = (found["what"], f"{found['what']}s")
    return next((word for word in words if word in RELATIONS), None)


_NO_ALLERGEN = frozenset(
    "no any an a food bad severe mild new serious really weird few some many".split()
)
_HAVING = (
    "got ",
    "bought ",
    "own ",
    "owns ",
    "have ",
    "hold ",
    "holds ",
    "has ",
    "developed ",
    "suffer ",
    "suffers ",
)


def _have(clause: Clause) -> Iterator[Fact]:
    """``I have a dog called Rex``, ``we have two kids``, ``I have a nut allergy``."""
    if clause.aux == "" and not clause.folded.startswith(_HAVING, clause.rest):
        return
    papers = _PAPERS.match(clause.folded, clause.rest, clause.to)
    if papers is not None and papers["v"] in NATIONALITIES and "roots" not in papers[0]:
        text = clause.turn.text[papers.start("v") : papers.end("v")]
        yield attributed(clause, "nationality", text, negated=clause.denied)
        return
    car = _HAVE_CAR.match(clause.folded, clause.rest, clause.to)
    if car is not None and car["make"] in CARS and not clause.denied:
        yield attributed(clause, "drives", clause.turn.text[car.start("v") : car.end("v")])
        return
    named = _HAVE_NAMED.match(clause.folded, clause.rest, clause.to) or _HAVE_THEN_NAME.match(
        clause.folded, clause.rest, clause.to
    )
    word = _relation_word(named) if named is not None else None
    if named is not None and word is not None and not clause.denied:
        value = values.name(clause, named.end())
        if value is not None:
            best = "best " in named[0] and word == "friend"
            yield attributed(clause, "best_friend" if best else RELATIONS[word], value.text)
        return
    allergy = _ALLERGY.match(clause.folded, clause.rest, clause.to)
    if allergy is not None and allergy["what"] not in _NO_ALLERGEN:
        yield attributed(clause, "allergic_to", allergy["what"], negated=clause.denied)
        return
    some = _HAVE.match(clause.folded, clause.rest, clause.to)
    if some is not None:
        n, what = some["n"], some["what"]
        if n == "no" or clause.denied:
            yield attributed(clause, "has", what, negated=True)
        else:
            yield attributed(clause, "has", f"{n} {what}")
