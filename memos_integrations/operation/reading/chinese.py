"""Facts out of Chinese clauses: ``我住在上海``, ``我不喝咖啡了``, ``下周一要发布新产品``.

Clauses end at commas; the subject is ``我``, somebody of the speaker's (``我妹妹``) or a name that
looks like one. A clause without a subject is the speaker's only where it plans with a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memos_integrations.cube.facts import Fact, FactKind, TimeSpan, TurnText
from memos_integrations.operation.reading import chinese_table, naming_zh
from memos_integrations.operation.reading.clauses import plain, quoted, speaker_of
from memos_integrations.operation.reading.entities_zh import SURNAMES
from memos_integrations.operation.reading.numbers import number_zh
from memos_integrations.operation.reading.phrasing import in_words_zh
from memos_integrations.operation.reading.segments import Segment
from memos_integrations.operation.reading.vocabulary import RELATIONS_ZH, known

_CLAUSE = re.compile(r"[^，,、；;：:。！!？?\n（）()]{2,80}(?:、[^，,；;。！!？?\n]{1,40})*")
_UNREAL = re.compile(
    r"如果|要是|假如|假设|也许|可能|或许|开玩笑|梦见|万一|听说|希望|想象|他说|她说|有人说"
)
_SUBJECT = re.compile(
    r"(?:但是?|不过|所以|因为|而且|然后|其实|对了|另外|还有|嗯|哦|啊|你好|大家好|最近|现在|目前|以前|是的|因此)*"
    rf"(?:(?P<mine>我们?的?(?P<r>{'|'.join(sorted(RELATIONS_ZH, key=len, reverse=True))}))"
    rf"|(?P<me>我们?)(?!的(?!{naming_zh.NOUNS}))|(?P<name>[{SURNAMES}][\u4e00-\u9fff]{{1,2}}?|[小老阿][\u4e00-\u9fff]"
    r"|[A-Z][a-z]{1,15})\s?(?=住|喜欢|不喜欢|讨厌|在|是|对|来自|搬|会说|打算|计划|不吃|不喝|爱))"
)


@dataclass(frozen=True, slots=True)
class _Clause:
    turn: TurnText
    subject: str
    first: bool
    words: str
    """What is said, its dates left out."""
    at: int
    to: int
    times: tuple[TimeSpan, ...]


_FAVOURITE = re.compile(
    r"最(?:喜欢|爱)的(?P<x>[\u4e00-\u9fff]{1,8}?)是(?P<v>[^，。！？]{1,20}?)(?:了|的|呢|啊|吧)*$"
)
_PREFER = re.compile(
    chinese_table.ADVERB
    + r"(?:更喜欢|更爱|比起(?P<w>[\u4e00-\u9fff]{1,8})更喜欢|宁愿)(?P<v>[\u4e00-\u9fff]{1,12}?)(?:而不是(?P<x>.{1,10}))?$"
)
_PLAN = re.compile(
    r"(?P<own>[^要打计准将决想会]{0,6}?)(?:打算|计划|准备|决定|将要|将会|将|就要|要|想要|想|会)(?:在|去)?(?P<v>.{2,30}?)(?:了|的)?$"
)
_FIRM = re.compile(r"打算|计划|准备|决定|将|要")
_CALLED = re.compile(r"(?:的名字)?(?:叫|是叫|名叫)(?P<v>[\u4e00-\u9fff]{1,4}|[A-Z][a-z]{1,15})$")
_BIRTHDAY = re.compile(r"的?生日(?:是|在)")
_DONE = re.compile(r"(?P<v>[^了过没不]{1,5}[了过][^，。了]{0,20}|.{0,4}去了.{1,20})$")
_BAD = re.compile(r"^(?:个|好|什么|怎么|谁|哪|你|您|这|那|它|他|她|的|一下|说|是|在|有|吗|吃吗)")


def facts(
    turn: TurnText, folded: str, segments: Sequence[Segment], times: Sequence[TimeSpan]
) -> Iterator[Fact]:
    """The facts of every plain Chinese clause."""
    foreign = quoted(turn.text)
    for at, to in plain(turn, folded, segments):
        if any(a <= at < b for a, b in foreign) or _UNREAL.search(folded, at, to):
            continue
        yield from _labelled(turn, at, to)
        yield from _sentence(turn, at, to, times)


def _labelled(turn: TurnText, at: int, to: int) -> Iterator[Fact]:
    """``职业：护士``."""
    me = speaker_of(turn)
    clause = _Clause(turn, me, True, turn.text[at:to], at, to, ())
    for attribute, value in naming_zh.labelled(clause.words):
        yield _fact(clause, attribute, value)


def _sentence(turn: TurnText, at: int, to: int, times: Sequence[TimeSpan]) -> Iterator[Fact]:
    subject: tuple[str, bool] | None = None
    waiting: tuple[TimeSpan, ...] = ()
    for found in _CLAUSE.finditer(turn.text, at, to):
        if not any("\u4e00" <= c <= "\u9fff" for c in found[0]):
            continue
        inside = tuple(t for t in times if found.start() <= t.at < found.end())
        words, start = _without(turn.text, found.start(), found.end(), inside)
        who = _SUBJECT.match(words)
        if who is not None:
            subject = _who(turn, who)
            words = words[who.end() :]
        if not words.strip():
            waiting = inside
            continue
        me = speaker_of(turn)
        name, first = subject or (me, True)
        clause = _Clause(turn, name, first, words.strip(), start, found.end(), inside or waiting)
        waiting = ()
        yield from _read(clause, owned=who, stated=subject is not None)


def _without(text: str, at: int, to: int, times: Sequence[TimeSpan]) -> tuple[str, int]:
    """The words of a clause without its dates."""
    kept, done = "", at
    for span in times:
        kept += text[done : span.at]
        done = max(done, span.to)
    return (kept + text[done:to]).strip(), at


def _who(turn: TurnText, found: re.Match[str]) -> tuple[str, bool]:
    me = speaker_of(turn)
    if found["mine"]:
        return f"{_zh(me)}的{found['r']}", False
    return (me, True) if found["me"] else (found["name"], False)


def _zh(name: str) -> str:
    return "用户" if name == "user" else name


def _read(clause: _Clause, *, owned: re.Match[str] | None, stated: bool) -> Iterator[Fact]:
    if owned is not None and owned["mine"]:
        called = _CALLED.match(clause.words)
        if called is not None:
            me = speaker_of(clause.turn)
            relation = RELATIONS_ZH[owned["r"]]
            text = f"{clause.subject}叫{called['v']}"
            yield _fact(clause, relation, called["v"], text=text, subject=me)
            return
    named = list(_named(clause, owned=owned, stated=stated))
    yield from named
    if named:
        return
    planned = _planned(clause, stated=stated)
    if planned is not None:
        yield planned
        return
    if not stated:
        return
    yield from _attributes(clause)


_AT_AS = re.compile(
    rf"{chinese_table.ADVERB}在(?P<at>[\u4e00-\u9fffA-Za-z]{{2,12}}?)(?:当|做|担任)了?(?:一?[名个位])?(?P<v>{chinese_table.JOB_ZH}){chinese_table.END}"
)


def _named(clause: _Clause, *, owned: re.Match[str] | None, stated: bool) -> Iterator[Fact]:
    """``我的职业是护士``, ``绿色是我最喜欢的颜色``, ``我在华为当工程师``."""
    both = _AT_AS.match(clause.words) if stated else None
    if both is not None:
        yield _fact(clause, "works_at", both["at"])
        yield _fact(clause, "works_as", both["v"])
        return
    me = speaker_of(clause.turn)
    relation = RELATIONS_ZH[owned["r"]] if owned is not None and owned["mine"] else None
    for of, attribute, value, denied in naming_zh.named(
        clause.words, relation=relation, stated=stated
    ):
        subject = me if of == "me" else clause.subject
        zh = None
        if attribute.startswith("favourite_") and not denied:
            zh = f"{_zh(subject)}最喜欢的{attribute.removeprefix('favourite_')}是{value}"
        elif attribute in RELATIONS_ZH.values() and relation is not None:
            zh = f"{_zh(me)}的{owned['r'] if owned else ''}是{value}"
        yield _fact(clause, attribute, value, text=zh, subject=subject, negated=denied)


def _attributes(clause: _Clause) -> Iterator[Fact]:
    words = clause.words
    favourite = _FAVOURITE.match(words)
    if favourite is not None:
        name = f"favourite_{favourite['x']}"
        text = f"{_zh(clause.subject)}最喜欢的{favourite['x']}是{favourite['v']}"
        yield _fact(clause, name, favourite["v"], text=text)
        return
    preferred = _PREFER.match(words)
    if preferred is not None:
        worse = preferred["w"] or preferred["x"]
        value = f"{preferred['v']}而不是{worse}" if worse else preferred["v"]
        yield _fact(clause, "prefers", value)
        return
    if _BIRTHDAY.match(words) and clause.times and clause.times[-1].grain == "day":
        day = in_words_zh(clause.times[-1]).split("年")[-1]
        yield _fact(clause, "birthday", day)
        return
    for attribute, pattern, denied in chinese_table.PATTERNS:
        match = pattern.match(words)
        if match is not None and match["v"] and not _BAD.match(match["v"]):
            yield from _values(clause, attribute, match["v"], denied=denied)
            return
    done = _event(clause)
    if done is not None:
        yield done


def _values(clause: _Clause, attribute: str, value: str, *, denied: bool) -> Iterator[Fact]:
    if attribute == "age":
        value = str(number_zh(value))
    several = attribute in {"likes", "eats", "drinks", "allergic_to", "speaks"}
    parts = re.split(r"[和、]|以及", value) if several else [value]
    moved = attribute in {"lives_in", "works_at"} and clause.words.startswith(
        ("搬", "换", "跳", "入")
    )
    when = (
        clause.times[0] if clause.times and (moved or attribute == "relationship_status") else None
    )
    for part in parts:
        if part:
            yield _fact(clause, attribute, part, negated=denied, when=when)


def _fact(
    clause: _Clause, attribute: str, value: str, *, text: str | None = None,
    negated: bool = False, when: TimeSpan | None = None, subject: str | None = None,
) -> Fact:  # fmt: skip
    who = subject or clause.subject
    reads = known(attribute)
    link = reads.zh_denies if negated else reads.zh
    said = text or f"{_zh(who)}{link}{value}"
    if when is not None:
        said += f"（{in_words_zh(when)}起）"
    return Fact(
        reads.kind, who, attribute, value, said, clause.at, clause.to,
        single=reads.single, negated=negated, when=when,
    )  # fmt: skip


def _planned(clause: _Clause, *, stated: bool) -> Fact | None:
    ahead = next((t for t in clause.times if t.end > clause.turn.time), None)
    found = _PLAN.match(clause.words)
    if found is None or (ahead is None and (not stated or not _FIRM.search(clause.words[:8]))):
        return None
    if re.match(
        r"[^，]{0,6}(?:需要|不要|重要|主要|只要|要求|要是|不会|会说|会讲|想要|想念|学会|社会|要不)",
        clause.words,
    ):
        return None
    if ahead is None and re.match(r"[^，]{0,4}(?:要|想|会)", clause.words):
        return None
    own = found["own"].strip()
    if own and stated:
        return None
    what = found["v"]
    shown = (
        clause.words[found.start("v") - 1 :] if clause.words[found.start("v") - 1] == "去" else what
    )
    shown = shown.removesuffix("了")
    who = _zh(clause.subject)
    day = f"{in_words_zh(ahead)}" if ahead else ""
    made = f"{own}{shown}"
    text = f"{who}计划{day}{made}"
    return Fact(
        FactKind.PLAN, clause.subject, "plans", made, text, clause.at, clause.to, when=ahead
    )


def _event(clause: _Clause) -> Fact | None:
    past = next((t for t in clause.times if t.start <= clause.turn.time), None)
    done = _DONE.match(clause.words) if past is not None else None
    if past is None or done is None or clause.words.startswith(("没", "不")):
        return None
    text = f"{_zh(clause.subject)}{in_words_zh(past)}{done['v']}"
    return Fact(
        FactKind.EVENT, clause.subject, "did", done["v"], text, clause.at, clause.to, when=past
    )
