"""Detectors of secrets: keys by their issuers' shapes, and words after "password", "token" ...

Called by ``detectors``. A missed secret costs more than a masked word, so after a label the
value is taken unless it is plainly ordinary prose.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

from memos_integrations.infrastructure.governance.detection import SECRET, Detector, Pattern, Span

_START: Final = r"(?<![A-Za-z0-9_-])"


def _token(name: str, body: str) -> Pattern:
    return Pattern(name, SECRET, re.compile(_START + body))


TOKENS: Final[tuple[Detector, ...]] = (
    _token("aws_key", r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
    _token("github_token", r"(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    _token("gitlab_token", r"gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_.-]{16,}"),
    _token("slack_token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    Pattern(
        "slack_webhook",
        SECRET,
        re.compile(r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]{20,})"),
    ),
    _token("stripe_key", r"(?:(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,})"),
    _token("anthropic_key", r"sk-ant-[A-Za-z0-9_-]{16,}"),
    _token("openai_key", r"sk-(?!ant-)(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"),
    _token("google_key", r"(?:AIza[A-Za-z0-9_-]{35,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[\w-]{20,})"),
    _token("huggingface_token", r"hf_[A-Za-z0-9]{30,}"),
    _token("npm_token", r"npm_[A-Za-z0-9]{36,}"),
    _token("jwt", r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}"),
    Pattern(
        "bearer_token",
        SECRET,
        re.compile(
            r"(?<![A-Za-z])(?:[Bb]earer|BEARER|[Bb]asic)[ \t]+"
            r"((?=[A-Za-z._~+/=-]*[0-9])[A-Za-z0-9._~+/=-]{16,})"
        ),
    ),
    # Up to the last @, since passwords may hold one; a port with a path is no password.
    Pattern(
        "url_password",
        SECRET,
        re.compile(
            r"://[^\s:/@'\"<>]{0,64}:(?!\[secret:)(?![0-9]{1,5}[/?#])([^\s'\"<>]{1,128})@", re.ASCII
        ),
    ),
)

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINES = re.compile(r"(?:(?:\s|\\n|\\r)*+[A-Za-z0-9+/=]{16,}+)*+")


class PrivateKeyBlock:
    """Finds PEM and PGP private keys, also those whose end was cut off."""

    name = "private_key"
    label = SECRET

    def find(self, text: str) -> list[Span]:
        spans: list[Span] = []
        begin, ends = _BEGIN.search(text), True
        while begin:
            end = _END.search(text, begin.end()) if ends else None
            # Once no end follows, none follows later either: the text is searched once.
            ends = end is not None
            stop = end.end() if end else self._stop(text, begin.end())
            spans.append(Span(begin.start(), stop, SECRET, self.name))
            begin = _BEGIN.search(text, stop)
        return spans

    @staticmethod
    def _stop(text: str, start: int) -> int:
        lines = _KEY_LINES.match(text, start)
        return lines.end() if lines else start


_LINK = (
    r"[\"'`*_]{0,2}[ \t\u3000]{0,4}(?:=>|->|:=|[:=\uff1a\uff1d]"
    r"|(?:is|was|are|be|to)(?![A-Za-z0-9])[ \t]?[:=]?|是|为|為)"
)
_ABOUT = r"(?:[ \t](?:for|to|of|on|at|in)[ \t][^.,;:=\uff1a!?\n]{1,40}?)?"
_OPEN = r"[ \t\u3000]{0,4}(?!\[(?:secret|personal):)"
_QUOTED = r""""[^"\n]{1,128}"|'[^'\n]{1,128}'|`[^`\n]{1,128}`"""

_PASSWORD = re.compile(
    r"(?:(?<![A-Za-z])(?:pass(?:word|code|phrase|wd)|pwd?)s?(?![A-Za-z])" + _ABOUT
    + r"|密码|密碼|口令)" + _LINK + _OPEN
    + rf"({_QUOTED}|[^\s\"'`<>\u3000-\u9fff\uff00-\uffef]{{1,128}})",
    re.IGNORECASE,
)  # fmt: skip
_KEYED = re.compile(
    r"(?:(?<![A-Za-z])(?:api|secret|access|auth|private|client|account|shared|signing|encryption)"
    r"(?:[ _-]?(?:access|account))?[ _-]?(?:keys?|tokens?|secret)|(?<![A-Za-z])(?:token|secret|"
    r"credentials?)|密钥|密鑰|令牌)(?![A-Za-z])" + _ABOUT + _LINK + _OPEN
    + rf"({_QUOTED}|[A-Za-z0-9+/=_.~-]{{8,256}})",
    re.IGNORECASE,
)  # fmt: skip

_PROSE_WORDS = """
a an and any are at be been blank broken by can case changed common complex complicated
compromised correct different easy empty encrypted expired false fine for forgotten from gone
good great hacked hard hashed here hidden important in incorrect invalid it just kept key known
leaked locked long lost mandatory me mine missing my n/a needed never new nil no none not now
null of ok old on one optional our out private protected public really required reset safe same
saved secret secure set shared short silly simple so something still stolen stored strong that
the their there they this to too true undefined unique unknown unset updated used valid very
weak what with wrong you your yours
"""
_PROSE: Final = frozenset(_PROSE_WORDS.split())
_TRAILING: Final = ".,;:)]}"
_GOES_ON: Final = re.compile(
    r"[ \t]+(?:and|but|so|or|for|on|at|in|please|thanks)(?![a-z])", re.IGNORECASE
)
_IS: Final = re.compile(r"(?:is|was|are|be|to)[ \t]*$", re.IGNORECASE)


def _value(match: re.Match[str]) -> tuple[int, int, str]:
    """The value without its quotes or the sentence's last mark."""
    start, end = match.span(1)
    value = match[1]
    if value[0] in "\"'`":
        return start + 1, end - 1, value[1:-1]
    kept = value.rstrip(_TRAILING)
    # "hunter2!" may well be the password, "swordfish!" rather is a sentence's end.
    kept = kept.rstrip("!?") if kept.rstrip("!?").isalpha() else kept
    return start, start + len(kept), kept


def _password(match: re.Match[str]) -> tuple[int, int] | None:
    start, end, value = _value(match)
    if len(value) < 3 or value.lower() in _PROSE or value[0] in "[{(<$*%":
        return None
    said = _IS.search(match.string, max(0, match.start(1) - 6), match.start(1))
    return (start, end) if not said or _wordless(match, end, value) else None


def _wordless(match: re.Match[str], end: int, value: str) -> bool:
    """Whether what follows "is" is a password: not letters only, quoted, or the end of a clause."""
    if match[1][0] in "\"'`" or not value.isascii() or not value.isalpha():
        return True
    if not (value.islower() or value.istitle()):
        return True
    rest = match.string[end : end + 2]
    if not rest.strip() or rest[0] in ".,;!?)\n":
        return True
    return _GOES_ON.match(match.string, end) is not None


def _keyed(match: re.Match[str]) -> tuple[int, int] | None:
    start, end, value = _value(match)
    return (start, end) if len(value) >= 8 and _random(value) else None


def _random(value: str) -> bool:
    """Whether it looks drawn by chance: letters and digits, at least 2.5 bits a character."""
    if not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts) >= 2.5


PRIVATE_KEY: Final = PrivateKeyBlock()
LABELLED: Final[tuple[Detector, ...]] = (
    Pattern("password", SECRET, _PASSWORD, _password),
    Pattern("token", SECRET, _KEYED, _keyed),
)

_TOKEN_MARKS: Final = (
    "_", "sk-", "://", "eyJ", "AIza", "xox", "AKIA", "ASIA", "ABIA", "ACCA", "glpat-", "gldt-",
    "glrt-", "glptt-", "earer ", "EARER ", "asic ", "earer\t", "ya29.", "GOCSPX-", "slack.com/",
)  # fmt: skip
_LABEL_MARKS: Final = (
    "passw", "passc", "passp", "pw", "key", "token", "secret", "credential",
    "密码", "密碼", "口令", "密钥", "密鑰", "令牌",
)  # fmt: skip


def may_hold_token(text: str) -> bool:
    """Cheap and never wrong in saying no."""
    for mark in _TOKEN_MARKS:  # noqa: SIM110  # any() with a generator costs three times as much
        if mark in text:
            return True
    return False


def may_hold_label(text: str) -> bool:
    """Cheap and never wrong in saying no."""
    low = text.lower()
    for mark in _LABEL_MARKS:  # noqa: SIM110  # as above
        if mark in low:
            return True
    return False
