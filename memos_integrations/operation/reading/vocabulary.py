"""What can be said of somebody: the attributes, how they read in a sentence, and word lists.

One table for facts and for questions, so that both name the same thing alike. An attribute
that is not in it (``favourite_colour``, ``visited``) is phrased by its own rule.
"""

from __future__ import annotations

from typing import NamedTuple

from memos_integrations.cube.facts import FactKind


class Attribute(NamedTuple):
    """How a fact reads: ``Maya`` + ``says`` + value, or ``denies``; one value at a time or many."""

    says: str
    denies: str
    zh: str
    zh_denies: str
    single: bool = False
    kind: FactKind = FactKind.ATTRIBUTE


_P = FactKind.PREFERENCE

ATTRIBUTES: dict[str, Attribute] = {
    "name": Attribute("is called", "is not called", "叫", "不叫", True),
    "nickname": Attribute("goes by", "does not go by", "的小名是", "的小名不是"),
    "age": Attribute("is", "is not", "的年龄是", "的年龄不是", True),
    "birthday": Attribute("has a birthday on", "has no birthday on", "的生日是", "的生日不是", True),
    "born_in": Attribute("was born in", "was not born in", "出生于", "不是出生于", True),
    "lives_in": Attribute("lives in", "does not live in", "住在", "不住在", True),
    "lives_with": Attribute("lives with", "does not live with", "和谁住:", "不和谁住:"),
    "from": Attribute("is from", "is not from", "来自", "不是来自", True),
    "grew_up_in": Attribute("grew up in", "did not grow up in", "在哪长大:", "不在哪长大:"),
    "nationality": Attribute("is", "is not", "是", "不是"),
    "works_as": Attribute("works as", "does not work as", "的职业是", "的职业不是", True),
    "works_at": Attribute("works at", "does not work at", "工作于", "不在这里工作:", True),
    "works_in": Attribute("works in", "does not work in", "从事", "不从事"),
    "studies": Attribute("studies", "does not study", "学习", "不学习"),
    "studies_at": Attribute("studies at", "does not study at", "就读于", "不就读于", True),
    "graduated_from": Attribute("graduated from", "did not graduate from", "毕业于", "不毕业于"),
    "relationship_status": Attribute("is", "is not", "的婚恋状况是", "的婚恋状况不是", True),
    "allergic_to": Attribute("is allergic to", "is not allergic to", "过敏于", "不过敏于"),
    "diet": Attribute("is", "is not", "的饮食是", "的饮食不是"),
    "eats": Attribute("eats", "does not eat", "吃", "不吃"),
    "drinks": Attribute("drinks", "does not drink", "喝", "不喝"),
    "speaks": Attribute("speaks", "does not speak", "会说", "不会说"),
    "learns": Attribute("is learning", "is not learning", "在学", "不在学"),
    "skill": Attribute("is", "is not", "是", "不是"),
    "drives": Attribute("drives", "does not drive", "开", "不开"),
    "owns": Attribute("owns", "does not own", "拥有", "没有"),
    "has": Attribute("has", "does not have", "有", "没有"),
    "plays": Attribute("plays", "does not play", "玩", "不玩"),
    "practises": Attribute("practises", "does not practise", "练", "不练"),
    "uses": Attribute("uses", "does not use", "使用", "不使用"),
    "habit": Attribute("has the habit:", "no longer has the habit:", "的习惯是", "不再"),
    "phone": Attribute("has the phone number", "no longer has the phone number", "的电话是",
                       "的电话不是", True),
    "email": Attribute("has the email address", "no longer has the email address", "的邮箱是",
                       "的邮箱不是", True),
    "address": Attribute("has the address", "no longer has the address", "的地址是",
                         "的地址不是", True),
    "likes": Attribute("likes", "does not like", "喜欢", "不喜欢", kind=_P),
    "prefers": Attribute("prefers", "does not prefer", "更喜欢", "不更喜欢", kind=_P),
    "plans": Attribute("plans to", "no longer plans to", "计划", "不再计划", kind=FactKind.PLAN),
}  # fmt: skip

RELATIONS = {
    word: name
    for name, words in {
        "partner": "wife husband partner girlfriend boyfriend fiance fiancee fiancé fiancée spouse "
        "gf bf hubby",
        "mother": "mother mom mum mama",
        "father": "father dad papa",
        "sister": "sister sis",
        "brother": "brother bro",
        "son": "son",
        "daughter": "daughter",
        "child": "child kid baby kids children",
        "parent": "parent parents",
        "grandparent": "grandparents",
        "grandmother": "grandmother grandma granny nana",
        "grandfather": "grandfather grandpa",
        "aunt": "aunt",
        "uncle": "uncle",
        "cousin": "cousin",
        "nephew": "nephew",
        "niece": "niece",
        "friend": "friend bff mate buddy pal bestie",
        "best_friend": "best-friend",
        "roommate": "roommate flatmate housemate",
        "boss": "boss manager supervisor",
        "colleague": "colleague coworker co-worker",
        "neighbour": "neighbour neighbor",
        "doctor": "doctor gp",
        "dentist": "dentist",
        "therapist": "therapist",
        "teacher": "teacher",
        "coach": "coach",
        "dog": "dog puppy pup",
        "cat": "cat kitten kitty",
        "pet": "pet",
        "horse": "horse",
        "rabbit": "rabbit bunny",
        "parrot": "parrot",
        "hamster": "hamster",
    }.items()
    for word in words.split()
}
ONE_OF = frozenset("partner mother father boss best_friend".split())
"""Relations in which there is one at a time."""
ANIMALS = frozenset("dog cat pet horse rabbit parrot hamster".split())

RELATIONS_ZH = {
    word: name
    for name, words in {
        "partner": "老婆 妻子 太太 老公 丈夫 先生 女朋友 男朋友 爱人 未婚妻 未婚夫 女友 男友",
        "mother": "妈妈 母亲 老妈",
        "father": "爸爸 父亲 老爸",
        "sister": "姐姐 妹妹",
        "brother": "哥哥 弟弟",
        "son": "儿子",
        "daughter": "女儿",
        "child": "孩子",
        "grandmother": "奶奶 外婆 姥姥",
        "grandfather": "爷爷 外公 姥爷",
        "best_friend": "最好的朋友",
        "friend": "朋友",
        "roommate": "室友",
        "boss": "老板 上司",
        "colleague": "同事",
        "dog": "狗 狗狗 小狗",
        "cat": "猫 猫咪 小猫",
        "pet": "宠物",
    }.items()
    for word in words.split()
}

JOBS = frozenset(
    "accountant actor actress analyst architect artist assistant astronomer athlete attorney baker "
    "banker barber barista bartender biologist blogger bookkeeper builder butcher captain "
    "caregiver carpenter cashier ceo chef chemist cleaner clerk coach comedian composer "
    "consultant contractor cook counselor counsellor cto curator dancer dentist designer detective "
    "developer director doctor driver economist editor electrician engineer entrepreneur "
    "farmer filmmaker firefighter florist founder freelancer gardener geologist guard guide "
    "hairdresser historian illustrator inspector instructor interpreter janitor jeweler journalist "
    "judge lawyer lecturer librarian lifeguard manager marketer mathematician mechanic midwife "
    "musician nanny nurse nutritionist officer optician painter paralegal paramedic pediatrician "
    "pharmacist photographer physicist physiotherapist pianist pilot plumber poet policeman "
    "policewoman producer professor programmer psychiatrist psychologist realtor receptionist "
    "recruiter reporter researcher sailor salesman salesperson saleswoman scientist sculptor "
    "secretary singer soldier sommelier statistician surgeon surveyor tailor teacher technician "
    "therapist trainer translator trucker tutor undertaker vet veterinarian waiter waitress welder "
    "lead supervisor foreman coordinator administrator specialist advisor adviser strategist planner bricklayer mason "
    "roofer potter brewer cardiologist radiologist anaesthetist beekeeper gamekeeper choreographer cartographer "
    "writer zoologist student intern apprentice retiree student pensioner streamer youtuber".split()
)
LANGUAGES = frozenset(
    "english german french spanish italian portuguese dutch swedish danish norwegian finnish "
    "polish czech russian ukrainian greek turkish arabic hebrew persian farsi hindi urdu bengali "
    "tamil mandarin cantonese chinese japanese korean thai vietnamese indonesian malay swahili "
    "latin catalan hungarian romanian bulgarian serbian croatian welsh irish esperanto".split()
)
NATIONALITIES = LANGUAGES - {"latin", "esperanto", "mandarin", "cantonese", "farsi"} | frozenset(
    "american british canadian mexican brazilian argentinian chilean colombian peruvian australian "
    "austrian swiss belgian scottish egyptian nigerian kenyan ethiopian moroccan algerian israeli "
    "iranian iraqi lebanese syrian indian pakistani bangladeshi nepali singaporean taiwanese "
    "filipino estonian latvian lithuanian icelandic cuban jamaican".split()
)
DIETS = frozenset(
    "vegan vegetarian pescatarian flexitarian lactose-intolerant gluten-free keto halal kosher "
    "lactose celiac coeliac".split()
)
CARS = frozenset(
    "alfa audi bmw buick cadillac chevrolet chevy chrysler citroen citroën cupra dacia dodge fiat ford genesis gmc honda hyundai "
    "infiniti jaguar jeep kia lancia lexus mazda mercedes mini mitsubishi nissan opel peugeot polestar porsche "
    "renault rivian saab seat skoda škoda smart subaru suzuki tesla toyota vauxhall volkswagen vw volvo byd golf prius "
    "civic corolla beetle fiesta focus polo clio".split()
)
STATUSES = frozenset("married single divorced engaged widowed separated".split())
LEVELS = frozenset("beginner novice newbie expert amateur intermediate".split())
MONTHS_DAYS = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may "
    "june july august september october november december christmas easter halloween".split()
)
NO_NAMES = MONTHS_DAYS | frozenset(
    "i he she it we they you this that these those there here what who when where why how which "
    "the a an my your his her its our their everyone everybody someone somebody nobody nothing "
    "everything something anything one two yes no not and or but so if then also well oh hey hi "
    "hello thanks thank please sorry ok okay god lol wow life people time work home today tomorrow "
    "yesterday some many most all mom dad mum just still never always really sounds sound looks "
    "look let let's feels seems glad happy hope been be got get had have has did do does is are was "
    "were can could will would should may might must guess maybe perhaps love like likes such each "
    "every both either neither sure yeah yep nope nah haha congrats cool nice great awesome amazing "
    "good best keep take make go come see check while after before since until because although "
    "though however once now then here's there's that's it's what's who's where's i'm i've i'd "
    "i'll we're we've you're they're he's she's finally recently lately even only also too very "
    "more less other others another same people folks guys kids friends family dear enjoy try thx "
    "about in on at to for from with without of by as up out off over under again almost fyi btw "
    "definitely absolutely literally unfortunately luckily fortunately eventually apparently".split()
)


def known(attribute: str) -> Attribute:
    """How an attribute reads, whether it stands in the table or is made from words."""
    found = ATTRIBUTES.get(attribute)
    if found is not None:
        return found
    words = attribute.replace("_", " ")
    if attribute.startswith("favourite_"):
        kind = FactKind.PREFERENCE
        return Attribute(f"'s {words} is", f"'s {words} is not", "", "", single=True, kind=kind)
    single = attribute in ONE_OF
    return Attribute(f"'s {words} is", f"'s {words} is not", "", "", single=single)


_SPELLINGS = {"color": "colour", "theater": "theatre", "movie": "film", "flavor": "flavour"}


def favourite(thing: str) -> str:
    """The attribute of a favourite thing, spelled one way: ``colors`` -> ``favourite_colour``."""
    words = thing.lower().removesuffix(" of all time").removesuffix(" ever").split()
    if words and len(words[-1]) > 3 and words[-1].endswith("s") and words[-1][-2] not in "sui":
        words[-1] = words[-1][:-1]
    return "favourite_" + "_".join(_SPELLINGS.get(word, word) for word in words)


def statement(subject: str, attribute: str, value: str, *, negated: bool = False) -> str:
    """``Maya lives in Berlin``, ``Maya's sister is Ann``, ``Maya is not allergic to nuts``."""
    reads = known(attribute)
    link = reads.denies if negated else reads.says
    if attribute == "age" and value.isdigit():
        value = f"{value} years old"
    if attribute == "works_as" and value.split()[0].lower() not in {"a", "an", "the"}:
        value = f"an {value}" if value[0].lower() in "aeiou" else f"a {value}"
    return f"{subject}{link} {value}" if link.startswith("'s ") else f"{subject} {link} {value}"
