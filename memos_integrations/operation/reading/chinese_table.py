"""The Chinese verbs that state an attribute, each with the value that may follow; for ``chinese``."""

from __future__ import annotations

import re

from memos_integrations.operation.reading import naming_zh

ADVERB = r"(?:现在|目前|一直|真的|很|非常|特别|最近|也|都|还|就|已经|刚|刚刚|其实|超级|挺|从小|又|今年|本来)*"
JOB_ZH = naming_zh.JOB
PLACE = r"(?P<v>[\u4e00-\u9fff]{2,8}?|[A-Z][A-Za-z ]{1,20}?)"
FOR = r"(?:(?:已经|都|也)*(?:有)?(?:好几|好多|几|半|[一两二三四五六七八九十0-9]{1,3}多?)(?:年|个?月|天|周|辈子)(?:多|半)?)?"
END = r"(?:了|的|呢|啊|吧|呀|哦)*$"

# (attribute, pattern, denied)
PATTERNS: tuple[tuple[str, re.Pattern[str], bool], ...] = tuple(
    (attribute, re.compile(ADVERB + words + FOR + END), denied)
    for attribute, words, denied in (
        ("lives_in", rf"从[\u4e00-\u9fff]{{2,6}}?(?:搬到|搬去|搬来|搬回|迁到)了?{PLACE}", False),
        ("lives_in", rf"(?:现居|定居于|居住于|旅居){PLACE}", False),
        ("lives_in", rf"(?:住在|定居在|居住在|搬到了?|搬去了?|搬家到了?|搬来了?){PLACE}", False),
        ("lives_in", rf"(?:不住在|不再住在){PLACE}", True),
        ("lives_in", rf"(?:住|定居)(?:在)?{PLACE}", False),
        ("from", rf"(?:是)?(?:来自{PLACE})", False),
        ("from", r"(?:是)?从(?P<v>[\u4e00-\u9fff]{2,6})来的?", False),
        ("from", rf"是{PLACE}人", False),
        ("works_at", r"(?:给|为|替)(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)(?:打工|工作|上班|干活|效力)", False),
        ("works_at", r"是(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)的?(?:员工|职员|雇员)", False),
        ("works_at", r"(?:跳槽|跳)(?:到|去)了?(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)(?:工作|上班)?", False),
        ("lives_in", r"(?:是)?在(?P<v>[\u4e00-\u9fff]{2,6}?)(?:住|生活|居住|定居|安家)", False),
        ("works_at", r"(?:就职|任职|供职|受雇|效力)于(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)", False),
        ("works_at", r"从[\u4e00-\u9fffA-Za-z]{2,12}?(?:跳槽|跳|换|转)到了?(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)(?:工作|上班)?",
         False),
        ("graduated_from", r"(?:毕业于|从(?=.{2,14}毕业))(?P<v>[\u4e00-\u9fffA-Za-z]{2,14}?)(?:毕业)?", False),
        ("studies_at", r"(?:就读于|在读于)(?P<v>[\u4e00-\u9fffA-Za-z]{2,14}?)", False),
        ("works_at", r"(?:换到|跳槽到|入职)了?(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)(?:工作|上班)?", False),
        ("works_at", r"在(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)(?:工作|上班|任职)", False),
        ("works_at", r"(?:从(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)(?:辞职|离职))", True),
        ("works_at", r"(?:不在|不再在)(?P<v>[\u4e00-\u9fffA-Za-z]{2,12}?)(?:工作|上班|任职)", True),
        ("studies_at", r"在(?P<v>[\u4e00-\u9fffA-Za-z]{2,14}?)(?:读书|上学|念书|读研|读博|读大学)", False),
        ("studies", r"(?:在)?(?:学习|学|读|主修)(?P<v>[\u4e00-\u9fffA-Za-z+#]{2,10}?)(?:专业)", False),
        ("learns", r"(?:正在|在|开始)(?:学习|学)(?P<v>[\u4e00-\u9fffA-Za-z+#]{1,12}?)", False),
        ("works_as", rf"(?:的(?:工作|职业))?是(?:一?[名个位])?(?P<v>{JOB_ZH})", False),
        ("works_as", rf"(?:做|当|成为)了?(?:一?[名个位])?(?P<v>{JOB_ZH})", False),
        ("skill", r"是(?:一?[名个位])?(?P<v>[\u4e00-\u9fffA-Za-z+#.]{1,14}?(?:初学者|新手|小白|入门者|专家|高手))",
         False),
        ("diet", r"(?:是)?(?:个)?(?P<v>素食主义者|素食者|吃素|纯素)", False),
        ("name", r"(?:的名字)?(?:叫|是叫|叫做)(?P<v>[\u4e00-\u9fff]{2,4}|[A-Z][a-z]{1,15})", False),
        ("age", r"(?:的年龄是|满)?(?P<v>[0-9]{1,3}|[一二三四五六七八九十]{1,3})岁", False),
        ("allergic_to", r"对(?P<v>[\u4e00-\u9fff]{1,8}?)(?:严重)?过敏", False),
        ("allergic_to", r"对(?P<v>[\u4e00-\u9fff]{1,8}?)不过敏", True),
        ("speaks", r"(?:会说|会讲|能说)(?P<v>[\u4e00-\u9fff、和]{1,16}?[语话文](?:[和、][\u4e00-\u9fff]{1,4}[语话文])*)", False),
        ("likes", r"(?:不喜欢|不爱|讨厌|厌恶|受不了|不再喜欢|不感兴趣)(?P<v>[^了]{1,20}?)", True),
        ("likes", r"(?:最|更)?(?:喜欢|爱|热爱|喜爱|迷上了?)(?!的)(?P<v>[^了]{1,20}?)", False),
        ("likes", r"对(?P<v>[\u4e00-\u9fff]{1,10}?)(?:感兴趣|着迷)", False),
        ("eats", r"(?:从来?不吃|不吃|不再吃|戒了?)(?P<v>[\u4e00-\u9fff]{1,8}?)", True),
        ("drinks", r"(?:从来?不喝|不喝|不再喝)(?P<v>[\u4e00-\u9fff]{1,8}?)", True),
        ("eats", r"(?:只吃|常吃|爱吃)(?P<v>[\u4e00-\u9fff]{1,8}?)", False),
        ("drives", r"开(?P<v>一辆[\u4e00-\u9fffA-Za-z]{1,10}?)", False),
        ("has", r"(?:养了?|有)(?P<v>[一两二三四五六](?:[只条匹辆套][\u4e00-\u9fff]{1,6}?|[个位](?:孩子|儿子|女儿|哥哥|弟弟|姐姐|妹妹|宝宝)))", False),
        ("relationship_status", r"(?P<v>结婚|离婚|订婚|分手|单身)", False),
    )
)  # fmt: skip
