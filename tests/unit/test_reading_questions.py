"""Questions in many wordings, read into what the facts are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.operation.reading.questions import Asked, asked

DESIGNED: list[tuple[str, Asked]] = [
    ("Where does Maya live?", Asked("Maya", "lives_in")),
    ("where do i live", Asked("Ann", "lives_in")),
    ("Which city do I live in now?", Asked("Ann", "lives_in")),
    ("Where does my brother live?", Asked("Ann's brother", "lives_in")),
    ("Where does Ben work?", Asked("Ben", "works_at")),
    ("What does Ben do for a living?", Asked("Ben", "works_as")),
    ("What's my job?", Asked("Ann", "works_as")),
    ("How old is Maya?", Asked("Maya", "age")),
    ("When is my birthday?", Asked("Ann", "birthday")),
    ("What is my favourite colour?", Asked("Ann", "favourite_colour")),
    ("What is Ben's favorite movie?", Asked("Ben", "favourite_film")),
    ("Who is Ben's sister?", Asked("Ben", "sister")),
    ("What is my wife's name?", Asked("Ann", "partner")),
    ("What is my dog called?", Asked("Ann", "dog")),
    ("Am I allergic to anything?", Asked("Ann", "allergic_to", None, True)),
    ("What am I allergic to?", Asked("Ann", "allergic_to")),
    ("Is Ben allergic to nuts?", Asked("Ben", "allergic_to", "nuts", True)),
    ("Does Maya like jazz?", Asked("Maya", "likes", "jazz", True)),
    ("What does Maya dislike?", Asked("Maya", "likes", None, False, True)),
    ("What languages does Ben speak?", Asked("Ben", "speaks")),
    ("Is Ann a vegetarian?", Asked("Ann", "diet", "vegetarian", True)),
    ("Can you tell me where Ben works?", Asked("Ben", "works_at")),
    ("我住在哪里?", Asked("Ann", "lives_in")),
    ("小明喜欢什么？", Asked("小明", "likes")),
    ("我对花生过敏吗？", Asked("Ann", "allergic_to", "花生", True)),
    ("我最喜欢的颜色是什么？", Asked("Ann", "favourite_颜色")),
]
HELD_OUT: list[tuple[str, Asked]] = [
    ("Do you remember where I live?", Asked("Ann", "lives_in")),
    ("In which town does Carlos live?", Asked("Carlos", "lives_in")),
    ("What company does Priya work for?", Asked("Priya", "works_at")),
    ("Who does Tom work for?", Asked("Tom", "works_at")),
    ("What is Tom's profession?", Asked("Tom", "works_as")),
    ("What's Lena's age?", Asked("Lena", "age")),
    ("When was I born?", Asked("Ann", "birthday")),
    ("Where is Carlos from?", Asked("Carlos", "from")),
    ("Which color is my favorite?", Asked("Ann", "favourite_colour")),
    ("What food do I like best?", Asked("Ann", "favourite_food")),
    ("Who is my best friend?", Asked("Ann", "best_friend")),
    ("Who is Tom married to?", Asked("Tom", "partner")),
    ("What's the name of my cat?", Asked("Ann", "cat")),
    ("Does Lena have a brother?", Asked("Lena", "brother", None, True)),
    ("Do I have any allergies?", Asked("Ann", "allergic_to", None, True)),
    ("What can't I eat?", Asked("Ann", "eats", None, False, True)),
    ("What does Tom hate?", Asked("Tom", "likes", None, False, True)),
    ("What are Tom's hobbies?", Asked("Tom", "likes")),
    ("Does Tom speak French?", Asked("Tom", "speaks", "French", True)),
    ("What instrument does Tom play?", Asked("Tom", "plays")),
    ("What car does Priya drive?", Asked("Priya", "drives")),
    ("Where did Priya go to university?", Asked("Priya", "studies_at")),
    ("What is Priya studying?", Asked("Priya", "studies")),
    ("Am I married?", Asked("Ann", "relationship_status", "married", True)),
    ("What are my plans for the weekend?", Asked("Ann", "plans")),
    ("Remind me, what's my email address?", Asked("Ann", "email")),
    ("我妹妹叫什么名字？", Asked("Ann", "sister")),
    ("我在哪家公司上班？", Asked("Ann", "works_at")),
    ("我喜欢喝茶吗？", Asked("Ann", "likes", "喝茶", True)),
    ("我多大了？", Asked("Ann", "age")),
]
NOT_UNDERSTOOD = [
    "How are you?",
    "Where do you live?",
    "What time is it?",
    "Can you help me with my code?",
    "Why is the sky blue?",
    "Who won the world cup?",
    "What did Ann do in May 2023?",
    "What is the capital of France?",
    "How many people live in Paris?",
    "Is it raining?",
    "What should I cook tonight?",
    "你好吗？",
    "今天天气怎么样？",
    "为什么天是蓝的？",
    "Where does it come from?",
    "",
    "I live in Rome.",
]


@pytest.mark.parametrize(("question", "expected"), DESIGNED)
def test_a_designed_question_is_understood(question: str, expected: Asked) -> None:
    assert asked(question, speaker="Ann") == expected


def test_held_out_questions_are_mostly_understood() -> None:
    missed = [(q, asked(q, speaker="Ann")) for q, e in HELD_OUT if asked(q, speaker="Ann") != e]
    assert len(missed) / len(HELD_OUT) <= 0.2, missed


@pytest.mark.parametrize("question", NOT_UNDERSTOOD)
def test_another_question_is_not_understood(question: str) -> None:
    assert asked(question, speaker="Ann") is None


def test_without_a_name_the_one_who_asks_is_the_user() -> None:
    assert asked("Where do I live?", speaker=None) == Asked("user", "lives_in")


@given(st.text(max_size=260))
def test_no_question_raises(text: str) -> None:
    asked(text, speaker=None)
    asked(f"What is {text}'s favourite {text}?", speaker="Ann")
