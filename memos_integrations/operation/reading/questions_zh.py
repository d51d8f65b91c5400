"""Chinese questions: ``我住在哪里？``, ``小明喜欢什么？``, ``我对花生过敏吗？``."""

from __future__ import annotations

import re

from memos_integrations.operation.reading.vocabulary import RELATIONS_ZH

_S = r"(?P<s>我们?|[\u4e00-\u9fffA-Za-z]{1,12}?)"
_WHERE = r"(?:哪里|哪儿|哪|什么地方|哪个城市|哪座城市|哪家公司|什么公司|哪个国家|什么城市)"
_RELATION = "|".join(sorted(RELATIONS_ZH, key=len, reverse=True))

_FORMS = tuple(
    (re.compile(rf"(?:请问|你知道|告诉我|记得)?,?，?{words}呢?[？?。]?$"), attribute)
    for words, attribute in (
        (rf"{_S}(?:现在)?(?:住在?|搬到了?){_WHERE}", "lives_in"),
        (rf"{_S}(?:现在)?在{_WHERE}(?:工作|上班)", "works_at"),
        (rf"{_S}(?:现在)?(?:是)?做什么(?:工作)?的?", "works_as"),
        (rf"{_S}的(?:工作|职业)是什么", "works_as"),
        (rf"{_S}(?:来自{_WHERE}|是{_WHERE}人|的老家在{_WHERE})", "from"),
        (rf"{_S}在{_WHERE}(?:上学|读书|学习|念书)", "studies_at"),
        (rf"{_S}(?:学|在学|读)(?:的?是?)什么(?:专业)?", "studies"),
        (rf"{_S}(?:今年)?(?:多大|几岁|多少岁)了?", "age"),
        (rf"{_S}的?(?P<r>{_RELATION})(?:是谁|叫什么(?:名字)?|的名字是什么)", "relation"),
        (rf"{_S}(?:的?名字(?:叫什么|是什么)|叫什么(?:名字)?)", "name"),
        (rf"{_S}的?生日是?(?:什么时候|哪天|几月几[日号]|哪一天)", "birthday"),
        (
            rf"{_S}最(?:喜欢|爱)的(?P<x>[\u4e00-\u9fff]{{1,8}})是(?:什么|哪.{{0,3}}|谁)",
            "favourite_",
        ),
        (rf"{_S}(?:不喜欢|讨厌|受不了)什么.{{0,6}}", "-likes"),
        (rf"{_S}喜欢(?:做|吃|看|玩|听)?什么.{{0,6}}", "likes"),
        (rf"{_S}(?:有什么|的)爱好(?:是什么)?", "likes"),
        (rf"{_S}对什么(?:食物|东西)?过敏", "allergic_to"),
        (rf"{_S}(?:会说|说|会讲)(?:什么|哪些|哪几种)语言", "speaks"),
        (rf"{_S}(?:有什么|的)(?:计划|打算)(?:是什么)?", "plans"),
        (rf"{_S}(?:计划|打算)做什么", "plans"),
        (rf"{_S}对(?P<v>.{{1,12}}?)过敏吗", "?allergic_to"),
        (rf"{_S}(?:还)?喜欢(?P<v>.{{1,20}}?)吗", "?likes"),
        (rf"{_S}(?:还)?住在(?P<v>.{{1,12}}?)吗", "?lives_in"),
        (rf"{_S}(?:还)?吃(?P<v>.{{1,12}}?)吗", "?eats"),
        (rf"{_S}(?:还)?喝(?P<v>.{{1,12}}?)吗", "?drinks"),
        (rf"{_S}会说(?P<v>.{{1,8}}?)吗", "?speaks"),
    )
)


def asked(text: str, *, me: str) -> tuple[str, str, str | None, bool, bool] | None:
    """Subject, attribute, value, whether yes or no answers it, whether it asks for a denial."""
    for form, attribute in _FORMS:
        match = form.match(text)
        if match is None:
            continue
        who = me if match["s"] in {"我", "我们"} else match["s"]
        if who.startswith(("你", "他", "她", "它", "这", "那", "谁", "为什么", "怎么")):
            return None
        groups = match.groupdict()
        if attribute == "relation":
            return who, RELATIONS_ZH[match["r"]], None, False, False
        if attribute == "favourite_":
            return who, f"favourite_{match['x']}", None, False, False
        value = groups.get("v")
        value = None if value in {"什么", "什么东西"} else value
        return who, attribute.lstrip("-?"), value, "?" in attribute, attribute.startswith("-")
    return None
