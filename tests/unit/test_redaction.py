"""Detectors by tables of cases, masking by properties, and time bounds on hostile text."""

from __future__ import annotations

import itertools
import json
import time
import uuid

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.governance.detectors import ALL, DEFAULT, Detector
from memos_integrations.infrastructure.governance.redaction import (
    RedactionPolicy,
    Span,
    apply_on_write,
    mask,
    mask_on_read,
    scan,
    spans_from_json,
    spans_to_json,
)

NOTHING: frozenset[str] = frozenset()
# Put together here, so that no scanner takes this file for a leak.
HEX40 = "0123456789abcdef0123456789ABCDEFabcdABCD"
GITHUB, STRIPE, SLACK = "gh" + "p_" + HEX40[:36], "sk_" + "live_" + HEX40[:24], "xox" + "b-" + HEX40
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75hc\nq83vq83vq83vq83vq83v==\n"
PEM_END = "-----END RSA PRIVATE KEY-----"

# text with the sensitive part between « and », and what it is
FOUND = [
    ("private_key", f"take «{PEM}{PEM_END}» and run"),
    ("private_key", f"cut off: «{PEM.strip()}»"),
    ("private_key", f"«{PEM}{PEM_END}»\n«{PEM}{PEM_END}»"),
    ("private_key", "«-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAA» ."),
    ("aws_key", "use «AKIAIOSFODNN7EXAMPLE» here"),
    ("aws_key", "tmp=«ASIAY34FZKBOKMUTVV7A»"),
    ("github_token", f"git clone with «{GITHUB}»."),
    ("github_token", f"«github_pat_{HEX40}»"),
    ("gitlab_token", "«glpat-aBcDeFgHiJkLmNoPqRsT»"),
    ("slack_token", f"bot «{SLACK}»"),
    (
        "slack_webhook",
        "https://hooks.slack.com/services/«T00000000/B00000000/XXXXXXXXXXXXXXXXXXXX»",
    ),
    ("stripe_key", f"charge with «{STRIPE}»"),
    ("openai_key", f"OPENAI «sk-proj-{HEX40}»"),
    ("openai_key", f"«sk-{HEX40}»"),
    ("anthropic_key", f"«sk-ant-api03-{HEX40}»"),
    ("google_key", f"«AIza{HEX40[:35]}»"),
    ("jwt", f"cookie «{JWT}»;"),
    ("bearer_token", "Authorization: Bearer «abc123def456ghi789»"),
    ("url_password", "postgres://app:«hunter2»@db.internal:5432/prod"),
    ("url_password", "redis://:«s3cr3t»@cache"),
    ("url_password", "amqp://u:«p@ss:w0rd»@host/x"),
    ("password", "my password is «hunter2», ok"),
    ("password", "my password is «swordfish»."),
    ("password", "Password: «correcthorse»"),
    ("password", "my password is «iloveyou» and I use it everywhere"),
    ("password", "login: bob pw: «Summer2024!»"),
    ("password", "the password is: «abc123»."),
    ("password", "The passcode to the gym is «4711»"),
    ("password", "PASSWORD=«Tr0ub4dor&3»"),
    ("password", "DB_PASSWORD='«x y z»'"),
    ("password", 'the wifi password for the guests is "«blue house 7»"!'),
    ("password", "pwd:«q1w2e3»"),
    ("password", '{"password": "«abc def»"}'),
    ("password", "密码是«abc12345»。"),
    ("password", "密码\uff1a«hunter2»"),
    ("password", "我的password是«Secret99»,谢谢"),
    ("password", "passphrase -> «open-sesame»"),
    ("token", f"api_key = «{HEX40}»"),
    ("token", "AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»"),
    ("token", "my API key is «9f8a7b6c5d4e3f2a1b0c»."),
    ("token", "令牌\uff1a«9f8a7b6c5d4e3f2a1b0c»"),
    ("email", "write to «bob.smith+x@mail.example.co.uk»."),
    ("email", "我的邮箱是«bob@qq.com»\uff0c谢谢"),
    ("email", "<«müller@bücher.de»>"),
    ("phone", "call «+1 (415) 555-2671» now"),
    ("phone", "«+442079460958»"),
    ("phone", "«+44 20 7946 0958»"),
    ("phone", "«+86 138 0013 8000»"),
    ("phone", "office: «(415) 555-2671»"),
    ("phone", "«415-555-2671», or «1-800-555-0199»"),
    ("phone", "«415.555.2671»"),
    ("phone", "my cell is «4155552671»"),
    ("phone", "phone: «555-1234»"),
    ("phone", "手机«13800138000»。"),
    ("phone", "WeChat «139-1234-5678»"),
    ("card", "card «4111 1111 1111 1111» exp 12/27"),
    ("card", "«5555555555554444»"),
    ("card", "amex «3782-822463-10005»"),
    ("card", "1234 «4111 1111 1111 1111»"),
    ("iban", "IBAN «GB82 WEST 1234 5698 7654 32» thanks"),
    ("iban", "«DE89370400440532013000»"),
    ("iban", "pay «NL91 ABNA 0417 1643 00» TODAY"),
    ("iban", "«de89370400440532013000»."),
    ("ssn", "my SSN: «078-05-1120»"),
    ("ssn", "social security number is «078051120»"),
    ("phone", "«0044 20 7946 0958»"),
    ("ip_address", "from «203.0.113.77» at noon"),
    ("ip_address", "http://«192.168.10.4»:8080/"),
    ("ip_address", "IP «8.8.8.8»"),
    ("ip_address", "«2001:db8:85a3::8a2e:370:7334»"),
    ("national_id", "身份证«11010519491231002X»。"),
]

ORDINARY = [
    "I went on 2023-05-08 at 13:56:00, 8 May 2023, 05/08/2023 and 08.05.2023.",
    "From 2019 to 2021, then 2022 - 2024, and 1998/1999.",
    "Order 415-555-2671 shipped; invoice #415-555-2671; tracking no. 1234567890123.",
    "order 1234567890, ticket 4155552671, id 13800138000",
    "It costs 1,234,567.89 dollars, or 12 000 000 yen; 100 200 300 400.",
    "Python 3.11.7, version 1.2.3.4, v10.20.30.40, release 10.0.19041.1, pkg==1.22.333.4",
    "section 10.11.12.13 of the report; 1.2.3.4 steps",
    "ratio 16:9, 12:30:45.123, std::vector<int>, a::b::c, 00:1A:2B:3C:4D:5E, 1:2:3:4:5",
    "4111 1111 1111 1112 fails the check, 1234567812345670 has no issuer",
    "DE89370400440532013001 and XX89370400440532013000 are no accounts",
    "000-12-3456 666-12-3456 900-12-3456 12-34-5678",
    "110105194912310021 has a wrong check digit",
    "0190c2f5-7d3a-7cc1-8a55-1f2e3d4c5b6a " + "3" * 8 + "-4444-7555-8666-" + "7" * 12,
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "1700000000 1700000000000 1700000000000000",
    "I forgot my password again, the password is wrong and needs a reset.",
    "My password is old and silly; his password is strong but long.",
    "Password required. passwords are hard; password: none; password is too weak to use",
    "The key is under the mat; the secret is practice; a token of thanks: flowers",
    "He passed the exam; compass: north. The password was changed yesterday",
    "api key: see the docs; token: <your-token>; password = ${DB_PASSWORD}; password: ****",
    "密码是错误的\uff0c请重置密码。",
    "see http://example.com:8080/path?user=a@b and ssh://git@host, @alice: hi @bob",
    "https://example.com/a:b",
    "a@b, @home, me@localhost, x @ y.com",
    "sk-learn is scikit-learn; task-oriented-and-very-long-hyphenated-words",
    "the bearer of bad news; Bearer responsibilities-and-duties; Basic understanding-of-things",
    "eyJust kidding, AKIA is a prefix, ghp_ too, xoxo!",
    "call of duty 2 came out in 2005 2006 2007, call me on 2023-10-15",
    "my cell died at 10:45 and 15% battery, text 12345",
    "2 + 1234567 = 1234569, x+12345678901",
    "[personal:email] [secret:password] password is [secret:password]",
    "\U0001f600" * 5 + " 五月八日 13点 ２０２３年",
]


def parts(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its marks, and where the marked parts lie in it."""
    text, places = "", []
    for n, piece in enumerate(marked.replace("»", "«").split("«")):
        if n % 2:
            places.append((len(text), len(text) + len(piece)))
        text += piece
    return text, places


@pytest.mark.parametrize(("what", "marked"), FOUND)
def test_detectors_find_exactly_the_sensitive_part(what, marked):
    text, places = parts(marked)
    found = scan(text)
    assert [(s.start, s.end) for s in found] == places
    assert {s.what for s in found} == {what}


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_holds_nothing(text):
    assert [(s.what, text[s.start : s.end]) for s in scan(text)] == []


@pytest.mark.parametrize("text", [parts(marked)[0] for _, marked in FOUND] + ORDINARY)
def test_the_gates_change_nothing_but_the_time(text):
    assert scan(text) == scan(text, ALL)
    assert all(isinstance(detector, Detector) for detector in (*ALL, *DEFAULT))


@pytest.mark.parametrize(("what", "marked"), FOUND)
def test_the_place_in_the_text_does_not_matter(what, marked):
    text, places = parts(marked)
    for before in ("\U0001f600é\n", "x\x00 ", "\ud800 ", "第一 "):
        shift = len(before)
        found = scan(f"{before}{text}\n")
        assert [(s.start - shift, s.end - shift) for s in found] == places


def test_ids_of_items_are_never_taken_for_numbers_of_people():
    for n in range(3000):
        name = str(uuid.UUID(int=(n * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128))
        assert scan(f"memory {name} and {name.replace('-', '')}") == (), name


# -- masking ------------------------------------------------------------------------------------


def test_mask_keeps_what_the_reader_is_cleared_for():
    text = "bob@x.org, password: hunter2"
    spans = scan(text)
    assert mask(text, spans, keep=NOTHING) == "[personal:email], password: [secret:password]"
    assert (
        mask(text, spans, keep=frozenset({"personal"})) == "bob@x.org, password: [secret:password]"
    )
    assert mask(text, spans, keep=frozenset({"personal", "secret"})) == text


def test_overlaps_inside_a_label_are_joined_and_the_longer_says_what():
    class Fixed:
        name, label = "fixed", "personal"

        def find(self, text: str) -> list[Span]:
            return [Span(4, 9, "personal", "late"), Span(0, 7, "personal", "early")]

    assert scan("0123456789", [Fixed()]) == (Span(0, 9, "personal", "early"),)


def test_a_secret_wins_an_overlap_and_the_rest_stays_covered():
    class Fixed:
        name, label = "fixed", "secret"

        def find(self, text: str) -> list[Span]:
            secrets = [Span(2, 4, "secret", "a"), Span(6, 7, "secret", "b")]
            return [Span(0, 10, "personal", "email"), *secrets]

    spans = scan("0123456789", [Fixed()])
    assert mask("0123456789", spans, keep=frozenset({"personal"})) == "01[secret:a]45[secret:b]789"
    assert [(s.start, s.end) for s in spans] == [(0, 2), (2, 4), (4, 6), (6, 7), (7, 10)]


def test_mask_takes_raw_overlapping_unsorted_spans():
    spans = [Span(5, 8, "personal", "b"), Span(0, 6, "personal", "a"), Span(1, 2, "medical", "c")]
    assert mask("0123456789", spans, keep=frozenset({"medical"})) == "[personal:a]89"


places = st.tuples(
    st.integers(0, 40), st.integers(1, 20), st.sampled_from(["secret", "personal", "medical"])
).map(lambda t: Span(t[0], t[0] + t[1], t[2], "thing"))


@given(st.lists(places, max_size=8), st.sets(st.sampled_from(["secret", "personal", "medical"])))
def test_mask_never_shows_a_character_of_a_span_and_keeps_every_other(spans, keep):
    text = "".join(chr(0x4E00 + n) for n in range(61))
    hidden = {n for s in spans if s.label not in keep for n in range(s.start, s.end)}
    shown = [c for c in mask(text, spans, keep=frozenset(keep)) if c >= "\u4e00"]
    assert shown == [c for n, c in enumerate(text) if n not in hidden]


@given(st.lists(places, max_size=8))
def test_scanned_spans_are_sorted_apart_and_cover_the_same(spans):
    class Fixed:
        name, label = "fixed", "any"

        def find(self, text: str) -> list[Span]:
            return spans

    made = scan("", [Fixed()])
    assert all(a.end <= b.start for a, b in itertools.pairwise(made))
    covered = {n for s in spans for n in range(s.start, s.end)}
    assert {n for s in made for n in range(s.start, s.end)} == covered


pieces = st.sampled_from([parts(marked)[0] for _, marked in FOUND] + ORDINARY)
glue = st.sampled_from(
    ["", " ", "\n", "-", ".", ",", "@", ":", "=", '"', "\ud800", "1", "é", "密码是"]
)
mixed = st.lists(st.tuples(pieces, glue).map("".join), min_size=1, max_size=4).map("".join)


@settings(max_examples=300, deadline=None)
@given(mixed)
@example("password: password: password: hunter2")
@example(f"{GITHUB}-415-555-2671 sk-{HEX40}@x.org")
def test_what_was_masked_on_write_is_not_found_again(text):
    written = apply_on_write(text, RedactionPolicy())
    assert "secret" not in {s.label for s in written.spans}
    assert scan(written.text) == written.spans
    again = apply_on_write(written.text, RedactionPolicy())
    assert (again.text, again.removed) == (written.text, {})


@settings(max_examples=300, deadline=None)
@given(mixed)
@example("1-800-555-0199 invoice #415-555-2671, SSN 078-05-1120 of 078051120, IP 8.8.4.4 8.8.8.8")
def test_masking_twice_changes_nothing_more(text):
    everything = RedactionPolicy(on_write=frozenset({"secret", "personal"}))
    once = apply_on_write(text, everything)
    assert once.spans == ()
    assert apply_on_write(once.text, everything).text == once.text


# -- the policy ---------------------------------------------------------------------------------


def test_secrets_never_reach_storage_and_spans_fit_the_stored_text():
    text = f"\U0001f511 {GITHUB} of bob@x.org, password: hunter2, call +442079460958"
    written = apply_on_write(text, RedactionPolicy())
    assert GITHUB not in written.text
    assert "hunter2" not in written.text
    assert written.removed == {"github_token": 1, "password": 1}
    assert [written.text[s.start : s.end] for s in written.spans] == ["bob@x.org", "+442079460958"]


def test_personal_data_is_masked_for_whoever_lacks_the_clearance():
    policy = RedactionPolicy()
    written = apply_on_write("mail bob@x.org", policy)
    assert (
        mask_on_read(*written_pair(written), policy, clearances=NOTHING) == "mail [personal:email]"
    )
    cleared = frozenset({"personal"})
    assert mask_on_read(*written_pair(written), policy, clearances=cleared) == "mail bob@x.org"


def written_pair(written):
    return written.text, written.spans


def test_a_policy_may_keep_secrets_as_spans_or_leave_people_alone():
    lenient = RedactionPolicy(on_write=NOTHING, on_read=frozenset({"secret"}))
    written = apply_on_write("bob@x.org password: hunter2", lenient)
    assert written.text == "bob@x.org password: hunter2"
    shown = mask_on_read(written.text, written.spans, lenient, clearances=NOTHING)
    assert shown == "bob@x.org password: [secret:password]"


def test_a_detector_of_ones_own_joins_the_shipped_ones():
    class Badge:
        name, label = "badge", "personal"

        def find(self, text: str) -> list[Span]:
            at = text.find("B-")
            return [] if at < 0 else [Span(at, at + 5, "personal", "badge")]

    spans = scan("badge B-123, bob@x.org", (*DEFAULT, Badge()))
    assert [s.what for s in spans] == ["badge", "email"]


def test_text_without_findings_comes_back_as_it_is():
    text = "nothing here"
    written = apply_on_write(text, RedactionPolicy())
    assert written.text is text
    assert (written.spans, written.removed) == ((), {})
    assert apply_on_write("", RedactionPolicy()).text == ""


# -- spans as JSON ------------------------------------------------------------------------------


def test_spans_survive_json():
    spans = scan("bob@x.org password: hunter2")
    stored = spans_to_json(spans)
    assert stored is not None
    assert json.loads(stored)[0] == [0, 9, "personal", "email"]
    assert spans_from_json(stored, length=27) == spans
    assert spans_to_json(()) is None
    assert spans_from_json(None) == ()


@pytest.mark.parametrize(
    "stored",
    [
        "", "{", "1", "null", "[1]", "[[]]", '[["a"]]', "[" * 100_000,
        '[[0, 4, "personal"]]', '[[0, 4, "personal", "email", 1]]', '[[4, 4, "personal", "email"]]',
        '[[-1, 4, "personal", "email"]]', '[[0, 99, "personal", "email"]]', '[["0", 4, "a", "b"]]',
        '[[0, 4.0, "personal", "email"]]', '[[false, true, "personal", "email"]]',
        '[[0, 4, "personal", "e]x"]]', '[[0, 4, 1, "email"]]', '[[0, 4, "", "email"]]',
        '[[0, 4, "a", "b"], [3, 6, "a", "b"]]', '[[5, 6, "a", "b"], [0, 2, "a", "b"]]',
    ],
)  # fmt: skip
def test_damaged_spans_are_refused(stored):
    with pytest.raises(InvalidInput):
        spans_from_json(stored, length=50)


# -- time ---------------------------------------------------------------------------------------

HOSTILE = [
    "a", "@", "a@", "a.", "a@a.", "1", "1 ", "1-", "1.", ":", "::", "a:", "4111 ",
    "411111111111111 ", "+1", "+1(", "(", "415-", "415 ", "DE89 ", "DE8937040044 ", "password ",
    "password is ", "passwordis", "password for ", "password:", "secret", "key", "api key ",
    "token=", "token is '", "://", "://a:", "://a:b", "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN ", "eyJ", "eyJ.", "eyJaaaaaaaaa.", "sk-", "sk-a",
    "gh", "ghp_", "xoxb-", "AIza", "AKIA", "Bearer ", "Bearer a", "call ", "call1", "phone ",
    "86", "13800138000", "078-05-", "ssn ", "1.1.", "255.255.255.255 ", "2001:db8::", "abcdef:",
    "110105194912310021 ", "密码", "密码是", '"', "token='", "4111-1111-", "_", "hooks.slack.com/",
    "2023 ", "a\n", "order 415-555-2671 ", "version 1.22.3.4 ", "0000000000000000\n",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_time_in_proportion_to_its_length(unit):
    text = (unit * (200_000 // len(unit) + 1))[:200_000]
    start = time.perf_counter()
    scan(text)
    # A fifth of a megabyte; quadratic behaviour would take minutes.
    assert time.perf_counter() - start < 2


def test_ordinary_turns_cost_microseconds():
    text = (
        "Hey Caroline! I went to the park with the kids yesterday, it was so nice to see everyone"
    )
    best = min(_seconds_of_a_thousand(text) for _ in range(5))
    assert best < 0.1


def _seconds_of_a_thousand(text: str) -> float:
    start = time.perf_counter()
    for _ in range(1000):
        scan(text)
    return time.perf_counter() - start
