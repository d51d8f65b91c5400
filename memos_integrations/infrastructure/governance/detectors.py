"""The shipped detectors of secrets and personal data, flat in ``ALL`` and gated in ``DEFAULT``.

Called by ``redaction``. They read shapes, not meaning: names, street addresses and secrets in
free words are not found. Digits other than 0-9 and deliberate disguise ("at", "dot") are not.
"""

from __future__ import annotations

from typing import Final

from memos_integrations.infrastructure.governance.detection import (
    PERSONAL,
    SECRET,
    Detector,
    Gated,
    Pattern,
    Span,
)
from memos_integrations.infrastructure.governance.personal_detectors import (
    EMAIL,
    IPV6,
    NUMBERS,
    may_hold_ipv6,
    may_hold_number,
)
from memos_integrations.infrastructure.governance.secret_detectors import (
    LABELLED,
    PRIVATE_KEY,
    TOKENS,
    may_hold_label,
    may_hold_token,
)

__all__ = ["ALL", "DEFAULT", "PERSONAL", "SECRET", "Detector", "Gated", "Pattern", "Span"]


def _may_hold_email(text: str) -> bool:
    return "@" in text


def _may_hold_private_key(text: str) -> bool:
    return "-----BEGIN" in text


ALL: Final[tuple[Detector, ...]] = (PRIVATE_KEY, *TOKENS, *LABELLED, EMAIL, *NUMBERS, IPV6)
"""One by one, to choose from; ``DEFAULT`` finds the same, faster."""

DEFAULT: Final[tuple[Detector, ...]] = (
    Gated("private keys", SECRET, _may_hold_private_key, (PRIVATE_KEY,)),
    Gated("tokens", SECRET, may_hold_token, TOKENS),
    Gated("labelled secrets", SECRET, may_hold_label, LABELLED),
    Gated("emails", PERSONAL, _may_hold_email, (EMAIL,)),
    Gated("numbers", PERSONAL, may_hold_number, NUMBERS),
    Gated("IPv6 addresses", PERSONAL, may_hold_ipv6, (IPV6,)),
)
