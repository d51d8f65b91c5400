"""Detectors of personal data: addresses, numbers and ids, by shape and by checksum.

Called by ``detectors``. Ordinary chat is full of dates, times, amounts and order numbers, so a
bare run of digits counts only with a checksum, a telling prefix or a telling word before it.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from memos_integrations.infrastructure.governance.detection import PERSONAL, Detector, Pattern

Place = tuple[int, int]

_LETTERS: Final = "0-9A-Za-zÀ-ɏͰ-ӿ"
_EMAIL = re.compile(
    rf"(?<![{_LETTERS}._%+'-])(?<!://)[{_LETTERS}_%+'-][{_LETTERS}._%+'-]*+@"
    rf"(?:[{_LETTERS}](?:[{_LETTERS}-]{{0,62}})\.){{1,10}}[A-Za-zÀ-ɏͰ-ӿ]{{2,24}}"
)
_URL_USER = re.compile(r"://[^\s/]{0,80}:$", re.ASCII)


def _email(match: re.Match[str]) -> Place | None:
    """Not the password and host of ``scheme://user:password@host``."""
    start = match.start()
    behind = match.string[start - 1 : start] == ":"
    if behind and _URL_USER.search(match.string, max(0, start - 84), start):
        return None
    return match.span()


_DATE = re.compile(
    r"(?:19|20)\d\d([ ./-])\d{1,2}\1\d{1,2}(?!\d)|\d{1,2}([ ./-])\d{1,2}\2(?:19|20)\d\d(?!\d)"
    r"|(?:(?:19|20)\d\d[ .,/()-]{1,3}){1,4}(?:19|20)\d\d(?!\d)",
    re.ASCII,
)
_NUMBERED = re.compile(
    r"(?:#|(?<![a-z])(?:order|invoice|ticket|case|tracking|ref(?:erence)?|isbn|doi|account|acct|"
    r"item|model|part|serial|sku|booking|confirmation|version|build|id))"
    r"[^\w\n]{0,3}(?:(?:no|number|num|nr|id|code|is)[^\w\n]{0,3}){0,2}$",
    re.IGNORECASE | re.ASCII,
)


def _number_of_a_thing(match: re.Match[str]) -> bool:
    """Whether the words before say that it numbers an order, a ticket, a model ..."""
    return bool(_NUMBERED.search(match.string, max(0, match.start() - 28), match.start()))


def _phone(match: re.Match[str]) -> Place | None:
    group = match.lastindex or 0
    if _DATE.match(match[group]) or _number_of_a_thing(match):
        return None
    return match.span(group)


_INTERNATIONAL = re.compile(
    r"(?<![\w+])\+[1-9](?:[ .()/-]{0,2}[0-9]){6,14}+(?![0-9])"
    r"|(?<![\w.+-])00[1-9](?:[ .()/-]{0,2}[0-9]){8,14}+(?![\w-])",
    re.ASCII,
)
_AMERICAN = re.compile(
    r"(?<![\w.+/-])(?:1[ .-])?(?:\([2-9]\d{2}\)[ -]?[2-9]\d{2}[ .-]\d{4}"
    r"|[2-9]\d{2}-[2-9]\d{2}-\d{4}|[2-9]\d{2}\.[2-9]\d{2}\.\d{4}|[2-9]\d{2} [2-9]\d{2} \d{4})"
    r"(?![\w-]|\.\d)",
    re.ASCII,
)
_CALLED = re.compile(
    r"(?:(?<![a-z])(?<!personal:)(?:(?:tele)?phone|mobile|cell|tel|call|text|whatsapp|fax|dial|ring|reach)"
    r"|电话|電話|手机|手機)[^0-9\n]{0,24}(?<![0-9A-Za-z_.-])"
    r"(\(?[0-9](?:[ .()-]{0,2}[0-9]){6,14}+)(?!-?\w)",
    re.IGNORECASE | re.ASCII,
)
_CHINESE_MOBILE = re.compile(
    r"(?<![\w.-])(?:86[ -]?)?1[3-9]\d([ -]?)\d{4}\1\d{4}(?![\w-]|\.\d)", re.ASCII
)

# The whole card is looked ahead at, so that digits before it cannot hide it.
_CARD = re.compile(
    r"(?<![\w.-])(?=((?:[2-6]\d{3}([ -])\d{4}\2\d{4}\2\d{4}|3\d{3}([ -])\d{6}\3\d{4,5}"
    r"|[2-6]\d{12,18})(?![\w]|-\d)))",
    re.ASCII,
)
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-59]|[689]\d)\d{11}|35\d{14}|6(?:011|5\d\d|4[4-9]\d|2\d\d)\d{12,15}"
    r"|(?:50|5[6-9]|6[037])\d{14}",
    re.ASCII,
)
_DOUBLED: Final = bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9))


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812."""
    values = digits.encode().translate(bytes.maketrans(b"0123456789", bytes(range(10))))
    return (sum(values[-1::-2]) + sum(values[-2::-2].translate(_TABLE))) % 10 == 0


_TABLE: Final = bytes.maketrans(bytes(range(10)), _DOUBLED)


def _card(match: re.Match[str]) -> Place | None:
    digits = match[1].replace(" ", "").replace("-", "")
    return match.span(1) if _ISSUERS.fullmatch(digits) and luhn(digits) else None


# Registered lengths (ISO 13616), as country code and length.
_IBAN_TABLE = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18
DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23
IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31
MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24
SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
"""
_IBAN_LENGTHS: Final = {entry[:2]: int(entry[2:]) for entry in _IBAN_TABLE.split()}
_IBAN = re.compile(r"(?<![\w-])([A-Z]{2})[0-9]{2} ?(?=[A-Z0-9]{4})", re.ASCII | re.IGNORECASE)
_IBAN_DIGITS: Final = {ord(c): str(int(c, 36)) for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _iban(match: re.Match[str]) -> Place | None:
    length = _IBAN_LENGTHS.get(match[1].upper())
    if length is None:
        return None
    text, start = match.string, match.start()
    raw = text[start : start + length + length // 4 + 1]
    plain = raw.replace(" ", "")[:length].upper()
    if len(plain) != length or not (plain.isascii() and plain.isalnum()):
        return None
    if int((plain[4:] + plain[:4]).translate(_IBAN_DIGITS)) % 97 != 1:
        return None
    end = _end_after(text, start, length)
    return None if text[end : end + 1].isalnum() else (start, end)


def _end_after(text: str, start: int, count: int) -> int:
    """Where the ``count``-th character other than a space ends."""
    while count:
        count -= text[start] != " "
        start += 1
    return start


_SSN = re.compile(
    r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"
    r"|(?:(?<![a-z])(?<!personal:)ssn|social security)[^0-9\n]{0,24}"
    r"((?!000|666|9)\d{3}[ -]?(?!00)\d{2}[ -]?(?!0000)\d{4})(?!\d)",
    re.ASCII | re.IGNORECASE,
)


def _ssn(match: re.Match[str]) -> Place:
    return match.span(match.lastindex or 0)


_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IPV4 = re.compile(
    rf"(?<![\w.-])(?!127\.|0\.|255\.){_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?![\w-]|\.\d)", re.ASCII
)
_VERSION = re.compile(
    r"(?:version|release|build|firmware|section|chapter|upgrade|update|==|>=|<=|~=)"
    r"[a-z ]{0,10}[^\w\n]{0,3}$",
    re.IGNORECASE,
)
_IP_WORD = re.compile(
    r"(?<![a-z_])(?<!personal:)(?:ip|ipv4|address|host|server)[^\n]{0,10}$", re.IGNORECASE
)


def _ipv4(match: re.Match[str]) -> Place | None:
    """Four numbers, unless a word says version or all are single digits without "IP" before."""
    before = max(0, match.start() - 24), match.start()
    if _VERSION.search(match.string, *before):
        return None
    if len(match[0]) == 7 and not _IP_WORD.search(match.string, *before):
        return None
    return match.span()


_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{6,45}+(?![\w:])", re.ASCII)


def _ipv6(match: re.Match[str]) -> Place | None:
    groups = [group for group in match[0].split(":") if group]
    if len(groups) < 3 or not any(c.isdigit() for c in match[0]):
        return None
    try:
        IPv6Address(match[0])
    except AddressValueError:
        return None
    return match.span()


_CHINESE_ID = re.compile(
    r"(?<!\w)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\w)",
    re.ASCII,
)
_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _chinese_id(match: re.Match[str]) -> Place | None:
    number = match[0]
    total = sum(int(d) * w for d, w in zip(number, _ID_WEIGHTS, strict=False))
    return match.span() if "10X98765432"[total % 11] == number[-1].upper() else None


def _mobile(match: re.Match[str]) -> Place | None:
    return None if _number_of_a_thing(match) else match.span()


EMAIL: Final = Pattern("email", PERSONAL, _EMAIL, _email)
IPV6: Final = Pattern("ip_address", PERSONAL, _IPV6, _ipv6)
NUMBERS: Final[tuple[Detector, ...]] = (
    Pattern("phone", PERSONAL, _INTERNATIONAL, _phone),
    Pattern("phone", PERSONAL, _AMERICAN, _phone),
    Pattern("phone", PERSONAL, _CALLED, _phone),
    Pattern("phone", PERSONAL, _CHINESE_MOBILE, _mobile),
    Pattern("card", PERSONAL, _CARD, _card),
    Pattern("iban", PERSONAL, _IBAN, _iban),
    Pattern("ssn", PERSONAL, _SSN, _ssn),
    Pattern("ip_address", PERSONAL, _IPV4, _ipv4),
    Pattern("national_id", PERSONAL, _CHINESE_ID, _chinese_id),
)

_DENSE_DIGITS = re.compile(r"[0-9](?:[^0-9]{0,2}[0-9]){5}|[0-9]\.[0-9]{1,3}\.[0-9]").search


def may_hold_number(text: str) -> bool:
    """Cheap and never wrong in saying no."""
    return _DENSE_DIGITS(text) is not None


def may_hold_ipv6(text: str) -> bool:
    """Cheap and never wrong in saying no."""
    return "::" in text or text.count(":") >= 7
