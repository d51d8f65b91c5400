"""Ways to ask for an attribute, in English and Chinese. Data only.

In English ``{s}`` is whom it is about, ``{p}`` the same as an owner, ``{do}`` and ``{be}`` its
verbs; ``{x}`` the attribute's own name. The last form of each is the one that is held out.
"""

from __future__ import annotations

ENGLISH: dict[str, tuple[str, ...]] = {
    "lives_in": (
        "Where {do} {s} live?",
        "In which place {do} {s} live?",
        "What is {p} place of residence?",
        "Which place is {p} home?",
    ),
    "from": (
        "Where {do} {s} come from?",
        "Where {be} {s} from?",
        "Which place {do} {s} come from?",
        "What is {p} place of origin?",
    ),
    "grew_up_in": (
        "Where did {s} grow up?",
        "In which place did {s} grow up?",
        "What is the place where {s} grew up?",
        "Where did {s} spend {o} childhood?",
    ),
    "born_in": (
        "Where {was} {s} born?",
        "In which place {was} {s} born?",
        "What is {p} place of birth?",
        "What is {p} birthplace?",
    ),
    "works_as": (
        "What {do} {s} work as?",
        "What is {p} job?",
        "Which profession {do} {s} have?",
        "What is {p} occupation?",
    ),
    "works_at": (
        "Where {do} {s} work?",
        "Which organisation {do} {s} work for?",
        "What is {p} place of work?",
        "Who is {p} employer?",
    ),
    "studies": (
        "What {do} {s} study?",
        "Which subject {do} {s} study?",
        "What is {p} field of study?",
        "What {be} {s} studying?",
    ),
    "studies_at": (
        "Where {do} {s} study?",
        "At which place {do} {s} study?",
        "What is {p} place of study?",
        "Which school or university {do} {s} attend?",
    ),
    "speaks": (
        "Which language {do} {s} speak?",
        "What language {do} {s} speak?",
        "Which language is spoken by {t}?",
        "Which language {do} {s} know?",
    ),
    "learns": (
        "What {do} {s} learn?",
        "What {be} {s} learning?",
        "Which thing {be} {s} learning at present?",
        "What is it that {s} {be} learning?",
    ),
    "plays": (
        "What {do} {s} play?",
        "What is it that {s} can play?",
        "Which thing {do} {s} play?",
        "What {be} {s} known to play?",
    ),
    "drives": (
        "What {do} {s} drive?",
        "Which vehicle {do} {s} drive?",
        "What is {p} vehicle?",
        "Which car {do} {s} use?",
    ),
    "eats": (
        "What {do} {s} eat?",
        "What is it that {s} will eat?",
        "Which food {do} {s} eat?",
        "What is known of {p} eating?",
    ),
    "diet": (
        "What is {p} diet?",
        "Which diet {do} {s} follow?",
        "How {do} {s} eat?",
        "What kind of diet {do} {s} have?",
    ),
    "allergic_to": (
        "What {be} {s} allergic to?",
        "Which allergy {do} {s} have?",
        "What is {p} allergy?",
        "To what {do} {s} react with an allergy?",
    ),
    "likes": (
        "What {do} {s} like?",
        "What is something that {s} {likes}?",
        "Which thing {do} {s} like?",
        "What {be} {s} fond of?",
    ),
    "prefers": (
        "What {do} {s} prefer?",
        "What is {p} preference?",
        "Which thing {do} {s} prefer?",
        "Given a choice, what {do} {s} take?",
    ),
    "birthday": (
        "When is {p} birthday?",
        "On which day is {p} birthday?",
        "What is {p} date of birth?",
        "What is the date of {p} birthday?",
    ),
    "name": (
        "What is {p} name?",
        "What {be} {s} called?",
        "By which name {be} {s} known?",
        "How {do} {s} call {self}?",
    ),
    "partner": (
        "Who is {p} partner?",
        "What is the name of {p} partner?",
        "With whom {be} {s} together?",
        "Which person is {p} partner?",
    ),
    "boss": (
        "Who is {p} boss?",
        "What is the name of {p} boss?",
        "Whom {do} {s} report to?",
        "Which person is {p} boss?",
    ),
}

OWNED = (
    "What is {p} {x}?",
    "Can you tell me {p} {x}?",
    "What is known of {p} {x}?",
    "Please name {p} {x}.",
)
"""For what is somebody's: a favourite colour, a dog."""

CHINESE: dict[str, tuple[str, ...]] = {
    "lives_in": ("{s}住在哪里？", "{s}现在住在什么地方？", "{s}的家在哪里？", "{s}的住处是哪里？"),
    "from": ("{s}是哪里人？", "{s}来自哪里？", "{s}从什么地方来？", "{s}的家乡是哪里？"),
    "grew_up_in": (
        "{s}在哪里长大？",
        "{s}是在什么地方长大的？",
        "{s}的童年在哪里度过？",
        "{s}小时候住在哪里？",
    ),
    "born_in": (
        "{s}在哪里出生？",
        "{s}出生在什么地方？",
        "{s}的出生地是哪里？",
        "{s}是在哪里生的？",
    ),
    "works_as": ("{s}做什么工作？", "{s}的职业是什么？", "{s}是干什么的？", "{s}从事什么职业？"),
    "works_at": (
        "{s}在哪里工作？",
        "{s}的工作单位是哪里？",
        "{s}在什么公司上班？",
        "{s}的雇主是谁？",
    ),
    "studies": ("{s}学什么？", "{s}的专业是什么？", "{s}在学习什么？", "{s}读什么专业？"),
    "studies_at": (
        "{s}在哪里上学？",
        "{s}在什么学校读书？",
        "{s}的学校是哪里？",
        "{s}就读于哪里？",
    ),
    "speaks": (
        "{s}会说什么语言？",
        "{s}会讲哪种语言？",
        "{s}懂什么语言？",
        "{s}能用哪种语言交谈？",
    ),
    "likes": ("{s}喜欢什么？", "{s}的爱好是什么？", "什么是{s}喜欢的？", "{s}对什么感兴趣？"),
    "allergic_to": (
        "{s}对什么过敏？",
        "{s}过敏的是什么？",
        "什么会让{s}过敏？",
        "{s}的过敏原是什么？",
    ),
    "birthday": (
        "{s}的生日是哪天？",
        "{s}的生日是什么时候？",
        "{s}什么时候过生日？",
        "哪天是{s}的生日？",
    ),
    "name": ("{s}叫什么名字？", "{s}的名字是什么？", "{s}叫什么？", "怎么称呼{s}？"),
    "boss": ("{s}的老板是谁？", "谁是{s}的老板？", "{s}的老板叫什么？", "{s}向谁汇报工作？"),
    "partner": ("{s}的伴侣是谁？", "谁是{s}的伴侣？", "{s}的伴侣叫什么？", "{s}和谁在一起？"),
}

CHINESE_OWNED = (
    "{s}的{x}是什么？",
    "什么是{s}的{x}？",
    "请说出{s}的{x}。",
    "关于{s}的{x}知道什么？",
)
