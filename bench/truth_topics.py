"""What people of the truth benchmark tell of themselves, in three sets of wordings.

``plain``, ``held_out_1`` (written before most rules for wordings; later rules were made for whole
classes of what it missed), ``held_out_2`` (the same, a generation later) and ``held_out_3``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Topic:
    """Something people tell of themselves: how, how it changes, how one asks for it."""

    name: str
    values: tuple[str, ...]
    plain: tuple[str, ...]
    held_out: tuple[str, ...]
    change: tuple[str, ...]
    change_held_out: tuple[str, ...]
    questions: tuple[str, ...]
    single: bool = True
    """Whether there is one value at a time, so that a new one ends the old."""


TOPICS = (
    Topic(
        "home",
        ("Lisbon", "Oslo", "Kyoto", "Toronto", "Prague", "Nairobi", "Denver", "Vienna"),
        ("I live in {v}.", "I'm living in {v}."),
        (
            "Home for me is {v} these days.",
            "I've been living over in {v} for a while.",
            "We have a small flat in {v}, that's where I live.",
        ),
        ("I moved to {v}.", "I live in {v} now."),
        ("I've just relocated to {v}.", "Big news: I'm now living in {v}!"),
        ("Where do I live?", "Which city do I live in?"),
    ),
    Topic(
        "employer",
        ("Siemens", "Spotify", "Deloitte", "Lufthansa", "Nestle", "Adobe", "Philips", "Volvo"),
        ("I work at {v}.", "I work for {v}."),
        (
            "I'm employed at {v}.",
            "My employer is {v}, in case you wonder.",
            "I have been working for {v} since spring.",
        ),
        ("I work at {v} now.", "I started working at {v}."),
        ("I changed jobs and I'm working for {v} now.", "I got a new job at {v}."),
        ("Where do I work?", "Who do I work for?"),
    ),
    Topic(
        "profession",
        ("nurse", "plumber", "lawyer", "baker", "pilot", "teacher", "dentist", "journalist"),
        ("I'm a {v}.", "I work as a {v}."),
        (
            "I make my living as a {v}.",
            "By profession I am a {v}.",
            "I've been a {v} for nine years.",
        ),
        ("I work as a {v} now.", "I'm a {v} now."),
        ("These days I'm working as a {v}.", "I became a {v}."),
        ("What is my job?", "What do I do for a living?"),
    ),
    Topic(
        "colour",
        ("green", "purple", "orange", "blue", "yellow", "red", "pink", "grey"),
        ("My favourite colour is {v}.", "My favorite colour is {v}."),
        ("My absolute favourite colour is {v}.", "{v} is my favourite colour."),
        ("My favourite colour is {v} now.", "My favourite colour is now {v}."),
        ("My favourite colour has changed to {v}.", "Now my favourite colour is {v}."),
        ("What is my favourite colour?", "What's my favourite colour?"),
    ),
)


SECOND = (
    Topic(
        "home",
        ("Lisbon", "Oslo", "Kyoto", "Toronto", "Prague", "Nairobi", "Denver", "Vienna"),
        (),
        (
            "We've been settled in {v} for about three years.",
            "honestly i love living in {v}",
            "Greetings from {v}, where I've lived since college.",
            "I've got a little place in {v}, moved in two summers ago.",
            "{v} has been home for me and the kids for ages.",
            "I reside in {v} with my parents.",
            "My apartment is in {v}, near the river.",
            "I'm writing to you from my home in {v}.",
            "These days {v} is where you'll find me, it's where I live.",
            "so i live in {v} lol",
        ),
        (),
        (
            "We packed up everything and moved to {v}.",
            "I finally made the move to {v}!",
            "My new address is in {v}.",
            "I'm a {v} resident now.",
            "We're living in {v} now, the boxes are still everywhere.",
            "Update: I live in {v} now.",
        ),
        ("Where do I live?", "Which city do I live in?"),
    ),
    Topic(
        "employer",
        ("Siemens", "Spotify", "Deloitte", "Lufthansa", "Nestle", "Adobe", "Philips", "Volvo"),
        (),
        (
            "I've been with {v} for six years now.",
            "I work over at {v}, in the accounts department.",
            "I'm an engineer at {v}.",
            "{v} is the company I've been working for since I graduated.",
            "My nine-to-five is at {v}.",
            "i work for {v}, it's alright",
            "I'm part of the sales team at {v}.",
            "Been working at {v} for a couple of years.",
            "My employer, {v}, is pretty relaxed about hours.",
            "I get my paycheck from {v}.",
        ),
        (),
        (
            "I got the job at {v}!",
            "I handed in my notice and I'm joining {v}.",
            "As of today I'm officially a {v} employee.",
            "I've switched jobs, I'm at {v} now.",
            "Starting this week I work at {v}.",
            "My new workplace is {v}.",
        ),
        ("Where do I work?", "Who is my employer?"),
    ),
    Topic(
        "profession",
        (
            "carpenter",
            "dentist",
            "translator",
            "pilot",
            "chef",
            "librarian",
            "journalist",
            "plumber",
        ),
        (),
        (
            "I've been working as a {v} for most of my adult life.",
            "My profession? I'm a {v}.",
            "You could say I'm a {v} through and through.",
            "I'm a {v}, have been for years.",
            "Career-wise, I'm a {v}.",
            "as a {v} i don't get many weekends off",
            "I chose to become a {v} and never regretted it.",
            "I'm a qualified {v}.",
            "Work-wise I'm a {v} at the moment.",
            "My job is basically being a {v}.",
        ),
        (),
        (
            "I changed careers and I'm a {v} now.",
            "I'm now working as a {v}.",
            "I got my license, so now I'm a {v}.",
            "These days I earn my keep as a {v}.",
            "I quit and became a {v}.",
        ),
        ("What do I do for a living?", "What is my job?"),
    ),
    Topic(
        "colour",
        ("teal", "orange", "crimson", "violet", "olive", "navy", "silver", "beige"),
        (),
        (
            "If I had to pick, my favourite colour would be {v}.",
            "Anything {v} makes me happy, it's my favourite colour.",
            "{v} is the colour I love the most.",
            "my fave color is {v} fyi",
            "I'm all about {v}, it's my favourite colour.",
            "My favourite colour has been {v} since I was a kid.",
            "The colour {v} has always been my favourite.",
            "I'd have to go with {v} as my favourite colour.",
        ),
        (),
        (
            "I've gone off it, my favourite colour is {v} now.",
            "Lately my favourite colour is {v}.",
            "My favourite colour switched to {v}.",
            "I think {v} is my favourite colour now.",
            "{v} has taken over as my favourite colour.",
        ),
        ("What is my favourite colour?", "Which colour is my favourite?"),
    ),
    Topic(
        "food",
        ("sushi", "lasagne", "ramen", "paella", "curry", "tacos", "pho", "dumplings"),
        (),
        (
            "My favourite food is hands down {v}.",
            "Nothing beats {v}, that's my favourite food.",
            "{v} is my all-time favourite food.",
            "Favourite food: {v}.",
            "I could eat {v} every day, it's my favourite food.",
            "when it comes to food, {v} is my favourite",
        ),
        (),
        (
            "My favourite food is now {v}.",
            "I've discovered {v} and it's my new favourite food.",
            "{v} is my favourite food these days.",
        ),
        ("What is my favourite food?",),
    ),
    Topic(
        "partner",
        ("Ana", "Luca", "Mei", "Jonas", "Zoe", "Omar", "Nina", "Pavel"),
        (),
        (
            "My partner's name is {v}.",
            "I've been together with {v} for five years.",
            "{v} and I got married last spring.",
            "I'm in a relationship with {v}.",
            "My partner {v} cooks better than I do.",
            "My other half is called {v}.",
            "I share my life with my partner {v}.",
            "I'm engaged to {v}!",
        ),
        (),
        (
            "I'm with someone new, my partner is {v} now.",
            "I got married to {v}.",
            "I've started dating {v}.",
            "My new partner is called {v}.",
        ),
        ("Who is my partner?",),
    ),
    Topic(
        "boss",
        ("Petra", "Dana", "Viktor", "Helen", "Tariq", "Ingrid", "Sanjay", "Carla"),
        (),
        (
            "My boss is someone called {v}.",
            "I report directly to {v}.",
            "My manager is {v}.",
            "{v} is my boss at work.",
            "My boss's name is {v}.",
            "the name of my boss is {v}",
            "My boss {v} is really strict.",
            "{v} is the one I report to.",
        ),
        (),
        (
            "I've got a new boss, {v}.",
            "{v} took over as my boss.",
            "My boss is now {v}.",
            "We got a new manager called {v}.",
        ),
        ("Who is my boss?",),
    ),
    Topic(
        "origin",
        ("Cork", "Graz", "Turku", "Bergen", "Ghent", "Split", "Porto", "Malmo"),
        (),
        (
            "I was born and raised in {v}.",
            "I'm originally from {v}.",
            "My family comes from {v} and so do I.",
            "{v} is my hometown.",
            "I'm from {v}, born and bred.",
            "My roots are in {v}.",
            "I hail from {v}.",
        ),
        (),
        (),
        ("Where am I from?", "What is my hometown?"),
    ),
    Topic(
        "university",
        (
            "Yale",
            "Oxford",
            "Cambridge",
            "Stanford",
            "Harvard",
            "Princeton",
            "Heidelberg",
            "Bologna",
        ),
        (),
        (
            "I study at {v}.",
            "I'm a second-year student at {v}.",
            "I'm doing my degree at {v}.",
            "I go to {v} for university.",
            "I'm studying physics at {v}.",
            "I'm enrolled at {v} right now.",
            "My university is {v}.",
        ),
        (),
        (
            "I transferred to {v}.",
            "I've switched universities and I'm at {v} now.",
            "I now study at {v}.",
        ),
        ("Where do I study?", "Which university do I go to?"),
    ),
    Topic(
        "best friend",
        ("Rosa", "Felix", "Amara", "Hugo", "Leila", "Bruno", "Freya", "Kenji"),
        (),
        (
            "My best friend is {v}.",
            "{v} has been my best friend since school.",
            "My best friend's name is {v}.",
            "I've known my best friend {v} forever.",
            "{v} is my best mate.",
            "My closest friend is {v}.",
        ),
        (),
        ("My best friend these days is {v}.", "{v} became my best friend."),
        ("Who is my best friend?",),
    ),
    Topic(
        "allergy",
        (
            "peanuts",
            "shellfish",
            "pollen",
            "penicillin",
            "latex",
            "strawberries",
            "walnuts",
            "kiwi",
        ),
        (),
        (
            "I'm allergic to {v}, always have been.",
            "I've got a bad allergy to {v}.",
            "My doctor says I'm allergic to {v}.",
            "Can't have {v}, I'm allergic.",
            "I have to carry an EpiPen because I'm allergic to {v}.",
            "i'm super allergic to {v}",
            "I found out last year that I'm allergic to {v}.",
            "Please remember that I can't have {v} because of my allergy.",
        ),
        (),
        (),
        ("What am I allergic to?",),
        single=False,
    ),
    Topic(
        "language",
        ("Dutch", "Thai", "Polish", "Greek", "Swedish", "Turkish", "Korean", "Hindi"),
        (),
        (
            "I speak fluent {v}.",
            "I grew up speaking {v} at home.",
            "My first language is {v}.",
            "I also speak {v}, thanks to my grandmother.",
            "I'm a native {v} speaker.",
            "{v} is my mother tongue.",
            "I can speak {v} pretty well.",
        ),
        (),
        (),
        ("What languages do I speak?",),
        single=False,
    ),
    Topic(
        "dog",
        ("Rex", "Luna", "Biscuit", "Milo", "Coco", "Bella", "Ziggy", "Pepper"),
        (),
        (
            "I have a dog named {v}.",
            "My dog {v} is asleep on the couch.",
            "We adopted a puppy and called her {v}.",
            "Our dog's name is {v}.",
            "My dog is called {v}.",
            "{v}, my dog, ate my homework.",
            "The dog's name is {v}.",
            "I'm out walking my dog {v}.",
        ),
        (),
        (),
        ("What is my dog's name?", "What is the name of my dog?"),
        single=False,
    ),
    Topic(
        "car",
        ("Volvo", "Skoda", "Toyota", "Fiat", "Subaru", "Mazda", "Kia", "Peugeot"),
        (),
        (
            "I drive a {v}.",
            "My car is an old {v}.",
            "I've got a {v}, it's ten years old.",
            "I bought myself a used {v} and drive it everywhere.",
            "I get around in a {v}.",
            "I'm driving a {v} these days.",
        ),
        (),
        (),
        ("What car do I drive?",),
        single=False,
    ),
    Topic(
        "home, in Chinese",
        ("上海", "北京", "杭州", "成都", "深圳", "广州", "南京", "武汉"),
        (),
        ("我现在住在{v}，房租很贵。", "我家就在{v}。", "我住{v}好几年了。", "我是在{v}生活的。"),
        (),
        ("我刚搬到{v}。", "现在我定居在{v}了。"),
        ("我住在哪里？",),
    ),
    Topic(
        "employer, in Chinese",
        ("华为", "腾讯", "百度", "小米", "京东", "网易", "美团", "联想"),
        (),
        ("我在{v}上班。", "我是{v}的员工。", "我给{v}打工。", "我的公司是{v}。"),
        (),
        ("我跳槽去了{v}。", "我现在在{v}工作了。"),
        ("我在哪里工作？",),
    ),
)
"""``held_out_2``: written when the rules were done, without looking at them. Rules were made for
classes of what it missed since."""


def _third(name: str, told: tuple[str, ...], changes: tuple[str, ...] = ()) -> Topic:
    topic = next(each for each in SECOND if each.name == name)
    return replace(topic, held_out=told, change_held_out=changes)


THIRD = (
    _third(
        "home",
        (
            "I'm living the dream in {v}, been here since 2018.",
            "We moved our whole family to {v} back in the day and stayed.",
            "My husband and I have a house in {v}.",
            "Currently residing in {v}.",
            "I stay in {v} with my aunt.",
            "Home is a tiny flat in {v}.",
            "I've lived in {v} all my life.",
        ),
        (
            "I relocated to {v} for work.",
            "Guess what, I live in {v} now!",
            "As of last week my home is {v}.",
        ),
    ),
    _third(
        "employer",
        (
            "I've worked for {v} since 2015.",
            "I'm a team lead at {v}.",
            "My current job is at {v}.",
            "{v} has been my employer for a decade.",
            "I work in HR at {v}.",
            "I make a living working for {v}.",
            "They have me working nights at {v}.",
        ),
        (
            "I accepted an offer from {v} and started on Monday.",
            "I got hired by {v}.",
            "I now work for {v} instead.",
        ),
    ),
    _third(
        "profession",
        (
            "I have been a {v} all my working life.",
            "I earn a living as a {v}.",
            "What pays the bills is my work as a {v}.",
            "I'm employed full-time as a {v}.",
            "Being a {v} is my job.",
            "I work as a freelance {v}.",
            "I'm just a {v}, nothing fancy.",
        ),
        ("I retrained and now I'm a {v}.", "I recently became a {v}.", "My new job is {v}."),
    ),
    _third(
        "colour",
        (
            "My favorite color is {v}, no contest.",
            "I've always said {v} is my favourite colour.",
            "Of all the colours, {v} is my favourite.",
            "{v} has to be my favourite colour.",
            "The colour I like the most is {v}.",
            "{v}, hands down my favourite colour.",
        ),
        ("I changed my mind, my favourite colour is {v}.", "{v} is my new favourite colour."),
    ),
    _third(
        "food",
        (
            "{v} is the food I love most.",
            "My favourite thing to eat is {v}.",
            "My favorite food in the whole world is {v}.",
            "favourite food? {v}, easily",
        ),
        ("My favourite food has become {v}.", "These days my favourite food is {v}."),
    ),
    _third(
        "partner",
        (
            "I'm happily married to {v}.",
            "My partner is named {v}.",
            "{v} is my partner.",
            "I live with my partner {v}.",
            "I've been dating {v} for a while.",
            "My partner, {v}, is a vet.",
        ),
        ("{v} and I just got engaged!", "I'm dating {v} now.", "I married {v} last month."),
    ),
    _third(
        "boss",
        (
            "{v} is my manager.",
            "My boss goes by {v}.",
            "I have a boss called {v}.",
            "The person I report to is {v}.",
            "I work for a boss named {v}.",
            "{v} is in charge of my team, so she's my boss.",
        ),
        ("My new boss is {v}.", "{v} is my boss now.", "I report to {v} these days."),
    ),
    _third(
        "origin",
        (
            "I come from {v}.",
            "{v} is where I was born and raised.",
            "I'm a {v} native.",
            "My hometown is {v}.",
            "I'm from a place called {v}.",
        ),
    ),
    _third(
        "university",
        (
            "I'm studying law at {v}.",
            "I'm a student at {v}.",
            "{v} is the university I go to.",
            "I attend {v}.",
            "I'm in my second year at {v}.",
        ),
        ("I'm studying at {v} now.", "I changed universities and now I study at {v}."),
    ),
    _third(
        "best friend",
        (
            "{v} is my best friend.",
            "I have a best friend named {v}.",
            "My best friend {v} lives abroad.",
            "{v} and I are best friends.",
        ),
        ("My best friend is now {v}.", "My new best friend is {v}."),
    ),
    _third(
        "allergy",
        (
            "I have a {v} allergy.",
            "Unfortunately I'm allergic to {v}.",
            "I get hives from {v}, I'm allergic.",
            "My only allergy is {v}.",
            "I was diagnosed with an allergy to {v}.",
        ),
    ),
    _third(
        "language",
        (
            "I'm fluent in {v}.",
            "I speak a little {v}.",
            "{v} is my native language.",
            "At home we speak {v}.",
        ),
    ),
    _third(
        "dog",
        (
            "My dog's called {v}.",
            "We have a dog, his name is {v}.",
            "I've got a dog by the name of {v}.",
            "{v} is my dog.",
        ),
    ),
    _third(
        "car",
        ("My car is a {v}.", "I own a {v}.", "I drive a beat-up {v}.", "The car I drive is a {v}."),
    ),
    _third(
        "home, in Chinese",
        ("我目前住在{v}。", "我在{v}住。", "我的家在{v}。"),
        ("我搬去{v}住了。",),
    ),
    _third("employer, in Chinese", ("我就职于{v}。", "我在{v}做销售。"), ("我换到{v}工作了。",)),
)
"""``held_out_3``: written after the rules for classes that ``held_out_2`` missed."""
