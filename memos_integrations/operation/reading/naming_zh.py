"""Chinese phrases that name an attribute, with their value: ``我的职业是护士``, ``杭州是我的家``.

Called by ``chinese`` with the words of one clause after its subject. A value must look like one of
its kind, for nothing but the noun says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_integrations.operation.reading.entities_zh import SURNAMES
from memos_integrations.operation.reading.vocabulary import RELATIONS_ZH

JOB = (
    r"[\u4e00-\u9fff]{0,6}(?:工程师|老师|教师|医生|护士|律师|设计师|程序员|学生|研究生|大学生|经理|会计|厨师|司机"
    r"|记者|编辑|作家|画家|歌手|演员|导演|警察|教授|销售|产品经理|科学家|翻译|摄影师|农民|军人|消防员|公务员|研究员"
    r"|架构师|木匠|电工|水管工|裁缝|牙医|护工|保安|快递员|外卖员|公司职员|自由职业者|咨询师|心理师|兽医|药剂师|飞行员|空姐|主播|博主|漫画家|插画师|音乐家|理发师|面包师|园丁|服务员|收银员|程序猿|码农|创业者|老板娘|技师|技术员|建筑师|化学家|物理学家|数学家|法官|检察官|运动员|分析师|顾问|教练|店长|店员)"
)
_HAN = r"[\u4e00-\u9fff]"
_PERSON = rf"(?:[{SURNAMES}]{_HAN}{{1,2}}|[小老阿]{_HAN}|[A-Z][a-z]{{1,15}})"
_PLACE = rf"(?:{_HAN}{{2,6}}|[A-Z][A-Za-z ]{{1,20}})"
_FIRM = rf"(?:{_HAN}{{2,12}}|[A-Z][A-Za-z]{{1,20}})"
_THINGS = rf"{_HAN}{{1,10}}(?:[、和]{_HAN}{{1,8}}){{0,5}}"
_KINDS: tuple[tuple[str, str, str], ...] = (
    ("lives_in", "家|住址|住处|居住地|现居地|所在城市|常住地", _PLACE),
    ("works_at", "工作单位|单位|雇主|公司|东家|就职公司", _FIRM),
    ("works_as", "职业|工作|本职工作|职位|岗位", rf"(?:一?[名个位])?{JOB}"),
    ("from", "老家|故乡|家乡|籍贯", _PLACE),
    ("born_in", "出生地", _PLACE),
    ("speaks", "母语|第一语言", rf"{_HAN}{{1,4}}[语话文]"),
    ("likes", "爱好|兴趣|业余爱好|兴趣爱好", _THINGS),
    ("studies", "专业|主修", rf"{_HAN}{{2,8}}"),
    ("studies_at", "学校|母校|大学", rf"{_HAN}{{2,12}}(?:大学|学院|学校|中学)"),
    ("allergic_to", "过敏|过敏原|过敏源|过敏史", _THINGS),
    ("name", "名字|姓名|全名", _PERSON),
)
NOUNS = rf"(?:{'|'.join(nouns for _, nouns, _ in _KINDS)}|最喜欢)"
"""Any noun that may follow ``我的``."""
_IS = r"(?:现在|目前|如今|其实|已经)*(?:就)?(?P<not>不再?是|不)?(?:是|在|叫|为|变成了?|换成了?|改成了?|改为|成了|变为)"
_TAIL = r"(?:了|的|呢|啊|吧|呀|哦)*$"
_FIRST = tuple(
    (attribute, re.compile(rf"的?(?:{nouns}){_IS}(?P<v>{value}?){_TAIL}"))
    for attribute, nouns, value in _KINDS
)
_FROM_TO = tuple(
    (attribute, re.compile(
        rf"的?(?:{nouns})从(?P<old>{value}?)(?:变成|换成|改成|变为|改为|换到|搬到)了?(?P<v>{value}?){_TAIL}"))
    for attribute, nouns, value in _KINDS
)  # fmt: skip
_LAST = tuple(
    (
        attribute,
        re.compile(
            rf"(?P<v>{value}?)(?:现在|目前|就|已经)*(?P<not>不再?)?(?:是|成了|变成了)我的?(?:{nouns}){_TAIL}"
        ),
    )
    for attribute, nouns, value in _KINDS
)
_LABEL = tuple(
    (attribute, re.compile(rf"\W{{0,3}}(?:{nouns})\s?[:：]\s?(?P<v>{value})[。.]?$"))
    for attribute, nouns, value in _KINDS
)
_THING = rf"{_HAN}{{1,8}}?"
_LIKED = r"(?:现在|目前)?最(?:喜欢|爱|钟爱)的"
_FAVOURITE = (
    re.compile(
        rf"{_LIKED}(?P<x>{_THING})从(?P<old>{_HAN}{{1,10}}?)(?:变成|换成|改成|变为)了?(?P<v>[^，。]{{1,20}}?){_TAIL}"
    ),
    re.compile(
        rf"{_LIKED}(?P<x>{_THING})(?:现在|目前|已经)?(?:变成|换成|改成|变为|成)了?(?P<v>[^，。]{{1,20}}?){_TAIL}"
    ),
    re.compile(rf"现在{_LIKED}(?P<x>{_THING})是(?P<v>[^，。]{{1,20}}?){_TAIL}"),
)
_FAVOURITE_LAST = re.compile(
    rf"(?P<v>[^，。]{{1,12}}?)(?P<not>不再?)?是我{_LIKED}(?P<x>{_THING}){_TAIL}"
)
_RELATED = re.compile(
    rf"(?:现在|目前)?(?P<not>不再?)?(?:是|叫|换成了?|变成了?)(?P<v>{_PERSON}){_TAIL}"
)
_RELATED_LAST = re.compile(
    rf"(?P<v>{_PERSON})(?:现在)?(?P<not>不再?)?是我的?(?P<r>{'|'.join(sorted(RELATIONS_ZH, key=len, reverse=True))}){_TAIL}"
)
_NO_VALUE = re.compile(
    r"^(?:什么|怎么|谁|哪|你|您|这|那|它|他|她|的|个|一|很|不|没|无|好|最|太|非常|比较|特别|我|还|在|是|有|空|暂无|未知|保密)"
    r"|(?:大|小|远|近|乱|忙|累|难)$"
)

Found = tuple[str, str, str, bool]
"""Whose (``me`` or ``subject``), attribute, value, whether denied."""


def named(words: str, *, relation: str | None, stated: bool) -> Iterator[Found]:
    """What a clause says by naming an attribute; ``stated``: whether it has a subject."""
    found = list(_value_last(words, relation=relation) if stated else _value_first(words))
    yield from (each for each in found if not _NO_VALUE.search(each[2]))


def _value_last(words: str, *, relation: str | None) -> Iterator[Found]:
    related = _RELATED.match(words) if relation is not None else None
    if related is not None and relation is not None:
        yield "me", relation, related["v"], bool(related["not"])
        return
    for form in _FAVOURITE:
        found = form.match(words)
        if found is not None:
            yield from _changed(f"favourite_{found['x']}", found)
            return
    for attribute, form in (*_FROM_TO, *_FIRST):
        found = form.match(words)
        if found is not None:
            yield from _changed(attribute, found)
            return


def _changed(attribute: str, found: re.Match[str]) -> Iterator[Found]:
    groups = found.groupdict()
    if groups.get("old"):
        yield "subject", attribute, groups["old"], True
    for value in _parts(attribute, found["v"]):
        yield "subject", attribute, value, bool(groups.get("not"))


def _parts(attribute: str, value: str) -> list[str]:
    several = attribute in {"likes", "allergic_to"}
    return [part for part in re.split(r"[和、]", value) if part] if several else [value]


def _value_first(words: str) -> Iterator[Found]:
    related = _RELATED_LAST.match(words)
    if related is not None:
        yield "me", RELATIONS_ZH[related["r"]], related["v"], bool(related["not"])
        return
    liked = _FAVOURITE_LAST.match(words)
    if liked is not None:
        yield "me", f"favourite_{liked['x']}", liked["v"], bool(liked["not"])
        return
    for attribute, form in _LAST:
        found = form.match(words)
        if found is not None:
            yield "me", attribute, found["v"], bool(found["not"])
            return


def labelled(words: str) -> Iterator[tuple[str, str]]:
    """The attribute and value of ``职业：护士``."""
    if ":" not in words[:12] and "：" not in words[:12]:
        return
    for attribute, form in _LABEL:
        found = form.match(words)
        if found is not None:
            for value in _parts(attribute, found["v"]):
                if not _NO_VALUE.search(value):
                    yield attribute, value
            return
