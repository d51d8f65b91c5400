"""What a question asks of somebody, in the same words as the facts: subject, attribute, value.

Called by the search for a structured look-up and by the reading of answers. A dislike is asked
for as ``likes`` denied, as facts state it. ``None`` where the question is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from memos_integrations.operation.reading import questions_zh
from memos_integrations.operation.reading.clauses import SELF
from memos_integrations.operation.reading.said import fold
from memos_integrations.operation.reading.vocabulary import (
    DIETS,
    JOBS,
    LANGUAGES,
    NATIONALITIES,
    NO_NAMES,
    RELATIONS,
    STATUSES,
    favourite,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked. ``value`` is given by a yes-or-no question that names one."""

    subject: str
    attribute: str
    value: str | None = None
    yes_no: bool = False
    """Whether yes or no answers it (``Am I allergic to anything?``)."""
    negated: bool = False
    """Whether it asks for what is denied (``What does Ann dislike?``)."""


_LONGEST = 240
_POLITE = re.compile(
    r"(?:(?:hey|hi|hello|so|and|but|ok|okay|well|please|quick question|also|oh|wow|cool|nice|by the way"
    r"|btw)[,!.:\s]+){0,3}(?:(?:do you (?:know|remember|recall)|(?:can|could) you (?:please )?(?:tell|"
    r"remind) me|tell me|remind me|i(?:'d| would) like to know|i forgot|any idea)[,:]?\s+)?(?:again,?\s+)?"
)
_S = r"(?P<s>i|we|you|(?:my|our|your)\s(?:[a-z-]+\s)??[a-zé-]+?|[A-Z][\w’-]+(?:\s[A-Z][\w’-]+)?)"
_OF = (
    r"(?P<s>my|our|your|(?:my|our|your)\s[a-zé-]+?(?:'s)|[A-Z][\w’-]+?(?:\s[A-Z][\w’-]+?)?(?:'s|'))"
)
_DO = r"(?:do|does|did)"
_BE = r"(?:am|is|are|'s|was|were)"
_V = r"(?P<v>.{1,60}?)"
_END = r"(?:\s(?:now|currently|these days|today|at the moment|nowadays|again|exactly|anymore|right now))?"
_THING = r"(?P<x>[a-z][\w -]{1,40}?)"

Form = tuple[re.Pattern[str], str]

_FORMS: tuple[Form, ...] = tuple(
    (re.compile(words.replace(" ", r"\s") + _END.replace(" ", r"\s") + r"\s*[?.!]*\s*$"), attribute)
    for words, attribute in (
        (rf"where {_DO} {_S} live", "lives_in"),
        (rf"where {_BE} {_S} (?:living|based|located)", "lives_in"),
        (rf"(?:what|which) (?:city|town|country|place) {_DO} {_S} live in", "lives_in"),
        (rf"in (?:what|which) (?:city|town|country|place) {_DO} {_S} live", "lives_in"),
        (rf"(?:what|which) (?:city|town|country) {_BE} {_S} (?:living |based )in", "lives_in"),
        (rf"(?:where {_DO} {_S} (?:move|relocate) to)", "lives_in"),
        (rf"where {_S} lives?", "lives_in"),
        (rf"where {_S} works?", "works_at"),
        (rf"how old {_S} (?:is|am|are)", "age"),
        (rf"what {_OF} (?:absolute |all-time |most )?favou?rite {_THING} (?:is|are)", "favourite_"),
        (rf"what {_S} (?:is|am|are) allergic to", "allergic_to"),
        (rf"what {_S} (?:likes?|loves?|enjoys?)", "likes"),
        (rf"when {_OF} birthday is", "birthday"),
        (rf"who {_OF} (?P<r>[a-zé-]+) (?:is|are)", "relation"),
        (rf"where {_DO} {_S} work", "works_at"),
        (rf"where {_BE} {_S} (?:working|employed)", "works_at"),
        (rf"(?:who|what company|which company|whom) {_DO} {_S} work (?:for|at)", "works_at"),
        (rf"(?:who|what)(?: i|')s {_OF} employer", "works_at"),
        (rf"what {_DO} {_S} do(?: for (?:a living|work))?", "works_as"),
        (rf"what(?: i|')s {_OF} (?:job|profession|occupation|job title|line of work)", "works_as"),
        (rf"what {_DO} {_S} work as", "works_as"),
        (rf"what (?:kind|sort|type) of (?:job|work) {_DO} {_S} (?:have|do)", "works_as"),
        (rf"where {_BE} {_S}(?: originally)? from", "from"),
        (rf"where {_DO} {_S}(?: originally)? come from", "from"),
        (rf"what(?: i|')s {_OF} (?:hometown|home town|country of origin)", "from"),
        (rf"how old {_BE} {_S}", "age"),
        (rf"what(?: i|')s {_OF} age", "age"),
        (rf"(?:when|what day|what)(?: i|')s {_OF} (?:birthday|birth date|date of birth)", "birthday"),
        (rf"when {_BE} {_S} born", "birthday"),
        (rf"where {_BE} {_S} born", "born_in"),
        (rf"where {_DO} {_S} grow up", "grew_up_in"),
        (rf"what(?: i|')s {_OF} nationality", "nationality"),
        (rf"what nationality {_BE} {_S}", "nationality"),
        (rf"what(?: i|')s {_OF} name", "name"),
        (rf"what {_BE} {_S} called", "name"),
        (rf"what(?: i|')s {_OF} (?:phone|phone number|mobile number|cell|number)", "phone"),
        (rf"what(?: i|')s {_OF} (?:e-?mail|e-?mail address)", "email"),
        (rf"what(?: i|')s {_OF} (?:home )?address", "address"),
        (rf"(?:what|who)(?: is| are| was|'s|'re) {_OF} (?:absolute |all-time |most )?favou?rite {_THING}", "favourite_"),
        (rf"which {_THING} {_BE} {_OF} favou?rite", "favourite_"),
        (rf"(?:what|which) {_THING} {_DO} {_S} (?:like|love|enjoy) (?:best|most|the most|the best)",
         "favourite_"),
        (rf"(?:who|what) {_BE} {_S} (?:married|engaged) to", "partner"),
        (rf"(?:who|what)(?: i|')s {_OF} (?P<r>[a-zé-]+(?: friend)?)(?:'s (?:first )?name| called| named)?",
         "relation"),
        (rf"what {_DO} {_S} call (?:my|his|her|their|your) (?P<r>[a-z]+)", "relation"),
        (r"what(?: is|'s) the name of (?P<s>my|our) (?P<r>[a-z]+)", "relation"),
        (rf"what can(?:'t|not) {_S} eat", "-eats"),
        (rf"who {_BE} {_OF} (?P<r>[a-zé-]+s)", "relation"),
        (rf"what {_BE} (?:the names? of )?{_OF} (?P<r>[a-z]+?)s?(?:'s?)? (?:names?|called|named)",
         "relation"),
        (rf"what (?:foods? )?{_BE} {_S} allergic to", "allergic_to"),
        (rf"(?:what|which) allerg(?:y|ies) {_DO} {_S} have", "allergic_to"),
        (rf"what(?: is| are|'s|'re) {_OF} allerg(?:y|ies)", "allergic_to"),
        (rf"(?:what|which|how many) languages? (?:{_DO}|can) {_S} speak", "speaks"),
        (rf"what {_DO} {_S} (?:like|love|enjoy)(?: to do| doing)?", "likes"),
        (rf"what {_BE} {_S} (?:into|fond of|passionate about)", "likes"),
        (rf"what (?:are|is|'s|were) {_OF} (?:hobb(?:y|ies)|interests?|likes)", "likes"),
        (rf"what {_DO} {_S} (?:dislike|hate|not like|detest)", "-likes"),
        (rf"what (?:do|does)(?:n't| not) {_S} (?:like|enjoy)", "-likes"),
        (rf"what can(?:'t|not) {_S} stand", "-likes"),
        (rf"what {_DO} {_S} prefer", "prefers"),
        (rf"what(?: subject)? {_DO} {_S} (?:study|major in)", "studies"),
        (rf"what {_BE} {_S} (?:studying|majoring in)", "studies"),
        (rf"where {_DO} {_S} (?:study|go to (?:school|college|university))", "studies_at"),
        (rf"where {_BE} {_S} studying", "studies_at"),
        (rf"(?:what|which) (?:school|college|university) {_DO} {_S} (?:attend|go to)", "studies_at"),
        (rf"(?:where|what (?:school|college|university)) {_DO} {_S} graduate(?: from)?", "graduated_from"),
        (rf"what(?: (?:kind|type|sort) of)?(?: car| vehicle)? {_DO} {_S} drive", "drives"),
        (rf"(?:what|which)(?: (?:instruments?|sports?))? {_DO} {_S} play", "plays"),
        (rf"(?:what|which language) {_BE} {_S} learning", "learns"),
        (rf"what (?:do|does)(?:n't| not) {_S} eat", "-eats"),
        (rf"what {_DO} {_S} not eat", "-eats"),
        (rf"what {_DO} {_S} drink", "drinks"),
        (rf"what(?: i|')s {_OF} (?:diet|relationship status|marital status)", "diet"),
        (rf"what (?:are|is|'s) {_OF} plans?(?: for .{{1,40}})?", "plans"),
        (rf"what {_DO} {_S} (?:plan|intend|want) to do(?: .{{1,40}})?", "plans"),
        (rf"what {_BE} {_S} (?:planning|going to do)(?: to do| on doing)?(?: .{{1,40}})?", "plans"),
        (rf"what(?: i|')s {_OF} (?:level|experience) (?:in|with) .{{1,40}}", "skill"),
        (rf"(?:am|is|are) {_S} (?:a )?(?P<v>beginner|expert|novice)(?: .{{1,40}})?", "?skill"),
        (rf"(?:am|is|are) {_S} (?:severely )?allergic to {_V}", "?allergic_to"),
        (rf"{_DO} {_S} have (?:an? |any )?(?P<v>[a-z ]+ )?allerg(?:y|ies)(?: to {_V.replace('<v>', '<w>')})?",
         "?allergic_to"),
        (rf"(?:do|does) {_S} (?:still |really )?(?:like|love|enjoy) {_V}", "?likes"),
        (rf"(?:am|is|are) {_S} (?:into|a fan of|fond of) {_V}", "?likes"),
        (rf"(?:do|does) {_S} (?:dislike|hate) {_V}", "-?likes"),
        (rf"(?:do|does|can) {_S} (?:still )?speak {_V}", "?speaks"),
        (rf"(?:do|does) {_S} (?:still )?live in {_V}", "?lives_in"),
        (rf"(?:do|does) {_S} (?:still )?work (?:at|for) {_V}", "?works_at"),
        (rf"(?:do|does) {_S} (?:still )?work as (?:an? )?{_V}", "?works_as"),
        (rf"(?:do|does) {_S} (?:still )?eat {_V}", "?eats"),
        (rf"(?:do|does) {_S} (?:still )?drink {_V}", "?drinks"),
        (rf"(?:do|does|can) {_S} (?:still )?play (?:the )?{_V}", "?plays"),
        (rf"(?:do|does) {_S} (?:own|drive) (?:an? )?{_V}", "?owns"),
        (rf"(?:do|does) {_S} have (?:an?|any) {_V}", "?has"),
        (rf"(?:am|is|are) {_S} from {_V}", "?from"),
        (rf"(?:am|is|are) {_S} (?:an? )?{_V}", "?is"),
    )
)  # fmt: skip
_ANYTHING = frozenset({"anything", "something", "any food", "any foods", "anything else", "sth"})


def asked(question: str, *, speaker: str | None) -> Asked | None:
    """What a question asks, ``speaker`` being whoever says ``I`` in it; ``None`` if unclear."""
    text = question.strip()
    if not 0 < len(text) <= _LONGEST:
        return None
    me = speaker or SELF
    if not text.isascii():
        found = questions_zh.asked(text, me=me)
        if found is not None:
            return Asked(*found)
    folded = fold(text)
    start = _POLITE.match(folded)
    at = start.end() if start else 0
    words = _half_folded(text, folded)
    for form, attribute in _FORMS:
        match = form.match(words, at)
        if match is not None:
            return _made(match, attribute, me)
    return None


_SHOWN = re.compile(r"[A-Z][\w’-]*")
_LOWERED = frozenset(
    "What Where Who Whom When Which How Do Does Did Is Are Am Was Were Can In I My We Our You Your "
    "Whats Any Tell Remind".split()
)


def _half_folded(text: str, folded: str) -> str:
    """Names keep their capitals, all else is in lower case."""
    plain = folded
    names = [
        m.span() for m in _SHOWN.finditer(text)
        if m[0] not in _LOWERED and m[0].lower() not in NO_NAMES
    ]  # fmt: skip
    for start, end in names:
        plain = plain[:start] + text[start:end].replace("’", "'") + plain[end:]
    return plain


def _made(match: re.Match[str], attribute: str, me: str) -> Asked | None:
    who = _subject(match["s"], me)
    if who is None:
        return None
    negated, yes_no = attribute.startswith("-"), "?" in attribute[:2]
    attribute = attribute.lstrip("-?")
    groups = match.groupdict()
    value = groups.get("v") or groups.get("w")
    value = None if value is None or value.strip() in _ANYTHING else value.strip()
    if attribute == "favourite_":
        return Asked(who, favourite(match["x"]))
    if attribute == "relation":
        return _of_relation(who, match["r"])
    if attribute == "name" and who.startswith(f"{me}'s "):
        return _of_relation(me, who.removeprefix(f"{me}'s "))
    make = _SPECIAL.get(attribute) if yes_no else None
    if make is not None:
        return make(who, value or "")
    return Asked(who, attribute, value, yes_no, negated)


def _subject(words: str, me: str) -> str | None:
    """The name a question's subject stands for."""
    plain = words.removesuffix("'s").removesuffix("'").removesuffix("’s")
    if plain in {"i", "we", "my", "our"}:
        return me
    first, _, rest = plain.partition(" ")
    if first in {"my", "our"}:
        return f"{me}'s {rest}" if rest.split()[-1] in RELATIONS else None
    if first in {"you", "your"} or not plain[0].isupper():
        return None
    return plain


def _of_relation(who: str, word: str) -> Asked | None:
    name = "best_friend" if word == "best friend" else RELATIONS.get(word.removesuffix("'s"))
    name = name or RELATIONS.get(word.rstrip("s"))
    return None if name is None else Asked(who, name)


def _is(who: str, value: str) -> Asked | None:
    word = value.lower()
    for attribute, words in (
        ("diet", DIETS), ("relationship_status", STATUSES), ("nationality", NATIONALITIES),
        ("works_as", JOBS),
    ):  # fmt: skip
        if word in words or (attribute == "works_as" and word.split()[-1] in JOBS):
            return Asked(who, attribute, value, True)
    return None


def _has(who: str, value: str) -> Asked | None:
    word = value.lower()
    relation = RELATIONS.get(word) or RELATIONS.get(word.rstrip("s"))
    if relation is not None:
        return Asked(who, relation, None, True)
    return Asked(who, "has", value, True)


def _speaks(who: str, value: str) -> Asked | None:
    return Asked(who, "speaks", value, True) if value.lower() in LANGUAGES else None


_SPECIAL: dict[str, Callable[[str, str], Asked | None]] = {
    "is": _is,
    "has": _has,
    "speaks": _speaks,
}
