"""Names in Chinese words, by titles, surnames after a naming word, and endings of places."""

from __future__ import annotations

import re

from memos_integrations.cube.facts import Mention, MentionKind

SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
_CITIES = (
    "北京|上海|广州|深圳|杭州|南京|成都|重庆|武汉|西安|苏州|天津|长沙|青岛|厦门|大连|香港|澳门|台北|东京|大阪|京都"
    "|首尔|新加坡|曼谷|巴黎|伦敦|柏林|罗马|纽约|旧金山|洛杉矶|西雅图|波士顿|悉尼|墨尔本|多伦多|温哥华|莫斯科|中国"
    "|美国|英国|法国|德国|日本|韩国|意大利|西班牙|加拿大|澳大利亚|泰国|印度|俄罗斯|四川|云南|广东|浙江|江苏|山东"
)
_RULES: tuple[tuple[re.Pattern[str], MentionKind], ...] = (
    (
        re.compile(
            rf"(?P<n>[{SURNAMES}][\u4e00-\u9fff]{{0,2}})(?=先生|女士|老师|医生|教授|经理|同学)"
        ),
        "person",
    ),
    (
        re.compile(
            r"(?<![\u4e00-\u9fff大])(?P<n>[小老阿]["
            + SURNAMES
            + r"明红丽强芳])(?![\u4e00-\u9fff]{0}学)"
        ),
        "person",
    ),
    (
        re.compile(
            rf"(?:我叫|名叫|他叫|她叫|叫做|名字是|名字叫)(?P<n>[{SURNAMES}][\u4e00-\u9fff]{{1,2}})(?=[,，。！!；\s]|$)"
        ),
        "person",
    ),
    (re.compile(r"(?P<n>" + _CITIES + r")"), "place"),
    (
        re.compile(
            r"(?:在|去|到|从)(?P<n>[\u4e00-\u9fff]{2,6}?(?:大学|学院|公司|银行|医院|博物馆|中学|小学))"
        ),
        "organisation",
    ),
    (re.compile(r"《(?P<n>[^》\n]{1,30})》"), "thing"),
)


def mentions(text: str) -> list[Mention]:
    """The names of a text, none inside another."""
    found: list[Mention] = []
    for pattern, kind in _RULES:
        found += [
            Mention(match["n"], kind, match.start("n"), match.end("n"))
            for match in pattern.finditer(text)
        ]
    found.sort(key=lambda m: (m.at, -m.to))
    kept: list[Mention] = []
    for one in found:
        if not kept or one.at >= kept[-1].to:
            kept.append(one)
    return kept
