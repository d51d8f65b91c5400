"""What a text is found by, case by case."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.infrastructure.backends.words import stem, tokens


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Red kites", ["red", "kite"]),
        ("kite kite", ["kite", "kite"]),
        ("", []),
        ("who was it that is the", []),
        ("?!... --", []),
        ("I'm here, you're there, we'll see", ["see"]),
        ("Melanie's kids don't like it", ["melani", "kid", "not", "like"]),
        ("it can\u2019t, I cannot, we wont", ["not", "not", "not"]),
        ("never, no, not", ["never", "no", "not"]),
        ("Will and May", ["will", "may"]),
        ("O'Brien, rock'n'roll", ["o", "brien", "rock", "n", "roll"]),
    ],
)
def test_english_is_stemmed_and_loses_its_stop_words(text: str, terms: list[str]) -> None:
    assert tokens(text) == terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("PROJ-123", ["proj", "123"]),
        ("bob.smith+x@example.com", ["bob", "smith", "x", "exampl", "com"]),
        ("snake_case_name", ["snake", "case", "name"]),
        ("v1.2 3.14 7", ["v1", "2", "3", "14", "7"]),
        ("10,000 and 1,250,000", ["10000", "1250000"]),
        ("1,2,3", ["1", "2", "3"]),
        ("1,000km", ["1", "000km"]),
        ("covid19 2nd", ["covid19", "2nd"]),
    ],
)
def test_numbers_and_identifiers_are_found_by_their_parts(text: str, terms: list[str]) -> None:
    assert tokens(text) == terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Café CAFÉ cafe\u0301", ["cafe"] * 3),
        ("ｆｕｌｌ Ⅻ", ["full", "xii"]),
        ("Straße ŁÓDŹ İstanbul Ærø", ["strass", "lodz", "istanbul", "aero"]),
        ("Москва ЙОД", ["москва", "иод"]),
        ("Θεσσαλονίκη ΟΔΟΣ", ["θεσσαλονικη", "οδοσ"]),
        ("हिन्दी में।", ["हिन्दी", "में"]),
        ("שָׁלוֹם أحمد", ["שלום", "احمد"]),
        ("soft\u00adware", ["softwar"]),
    ],
)
def test_case_width_and_accents_are_folded(text: str, terms: list[str]) -> None:
    assert tokens(text) == terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("我喜欢猫", ["我喜", "喜欢", "欢猫"]),
        ("猫", ["猫"]),
        ("買iPhone手机,猫", ["買", "iphon", "手机", "猫"]),
        ("コーヒー が", ["コー", "ーヒ", "ヒー", "が"]),
        ("ｶﾞﾗｽ", ["ガラ", "ラス"]),
        ("한국어", ["한국", "국어"]),
        ("ครับ", ["คร", "รั", "ับ"]),
        ("2023年5月", ["2023", "年", "5", "月"]),
    ],
)
def test_scripts_without_spaces_give_pairs(text: str, terms: list[str]) -> None:
    assert tokens(text) == terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("great👍🏽job", ["great", "👍", "job"]),
        ("so👍yes", ["👍", "yes"]),
        ("❤️ ❤", ["❤", "❤"]),
        ("👩\u200d👧", ["👩", "👧"]),
        ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
    ],
)
def test_an_emoji_is_a_term_of_its_own(text: str, terms: list[str]) -> None:
    assert tokens(text) == terms


def test_a_long_word_ends_after_64_characters() -> None:
    assert tokens("9" * 64 + " b") == ["9" * 64, "b"]
    assert tokens("9" * 5000 + " b") == ["9" * 64, "b"]
    assert tokens("é" * 5000 + " b") == [tokens("e" * 64)[0], "b"]


@pytest.mark.parametrize(
    "piece",
    [
        "a", "_", "'", "a'", "a's", "1,", "111,", "e\u0301\u0323", "\u0301\u0323", "\u05b0\u0591",
        "中文", "ก\u0e33", "क\u094d", "👍", "🇩", "\u1100\u1161", "é", "\u200d", " \u0301", "\ud800",
    ],
)  # fmt: skip
def test_hostile_texts_take_linear_time(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    started = time.process_time()
    terms = tokens(text)
    assert time.process_time() - started < 2
    assert max(map(len, terms), default=0) <= 64


@given(st.text())
def test_any_text_gives_short_terms_without_spaces(text: str) -> None:
    for term in tokens(text):
        assert 0 < len(term) <= 64
        assert not set(term) & set(" \t\n_'")


@given(st.text(), st.text())
def test_a_text_has_the_terms_of_its_parts(left: str, right: str) -> None:
    assert tokens(f"{left} {right}") == tokens(left) + tokens(right)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_a_foreign_word_beside_it_changes_no_english(text: str) -> None:
    assert tokens(f"Москва {text}") == ["москва", *tokens(text)]


@given(st.text(alphabet="abcdeghilmnorstuvyz", max_size=20))
def test_stemming_adds_at_most_a_letter(word: str) -> None:
    assert len(stem(word)) <= len(word) + 1
    assert stem(word)[:2] == word[:2] or len(word) < 4


# Word and stem as the published vocabulary of the algorithm lists them.
PUBLISHED = """
consign consign  consigned consign  consigning consign  consignment consign  consist consist
consistency consist  consistently consist  consolation consol  consolatory consolatori
consoling consol  conspicuously conspicu  conspiracy conspiraci  conspirator conspir
constables constabl  knavish knavish  kneaded knead  kneeling kneel  knightly knight
knitted knit  knives knive  knocker knocker  knots knot  knowledge knowledg
generate generat  generic generic  communism communism  arsenal arsenal  sky sky  skies sky
dying die  news news  inning inning  early earli  only onli  succeed succeed  exceeding exceed
cries cri  ties tie  caresses caress  gas gas  gaps gap  kiwis kiwi  this this  hoping hope
hopping hop  agreed agre  feed feed  luxuriated luxuri  happy happi  say say  by by
relational relat  rationally ration  digitizer digit  hopefulness hope  goodness good
allowance allow  adoption adopt  probate probat  rate rate  controll control  roll roll
youth youth  boy boy  yellow yellow  add add  geologist geolog  university universiti
"""


@pytest.mark.parametrize(
    ("word", "expected"),
    list(zip(PUBLISHED.split()[::2], PUBLISHED.split()[1::2], strict=True)),
)
def test_stems_are_those_of_porter2(word: str, expected: str) -> None:
    assert stem(word) == expected


@given(
    st.text(alphabet=st.sampled_from(["a", "B", "7", "'", ",", "_", "-", " ", "\n", "\x1f", "Z"]))
)
def test_text_without_joining_signs_is_split_into_the_same_words(text: str) -> None:
    """A quote alone is no word, but it has the text read by the pattern."""
    assert tokens(text) == tokens(f"{text} '")


def test_a_long_word_is_cut_off_where_it_always_was() -> None:
    assert tokens("b" * 100) == tokens("b" * 100 + " '") == ["b" * 64]
