"""What is hidden with a memory: what restates its words, in the same transaction.

Called by the verbs that narrow who sees a memory. That is its summaries, and facts of answers
that borrow its words; its own facts need nothing, as every read decides about them by their
source. What a person derived has an owner of its own and stays theirs.
"""

from __future__ import annotations

from memos_integrations.cube.acl import Grant, Visibility
from memos_integrations.cube.events import EventKind
from memos_integrations.infrastructure.vault.borrowed_words import borrowing
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.lifecycle.truth import SUMMARY_MODELS, dependents, mark_derived

_WIDTH = (Visibility.PRIVATE, Visibility.INHERIT, Visibility.TENANT, Visibility.PUBLIC)
"""From narrow to wide: each is seen by all who see the one before."""

# Links that were closed count too: an earlier version of the summary still holds the words.
_SUMMARIES = """
SELECT DISTINCT i.iid, i.visibility FROM edge e JOIN item i ON i.iid = e.source
WHERE e.relation = 'derived_from' AND e.target = ?1 AND i.cid = ?2 AND EXISTS (
    SELECT 1 FROM version v WHERE v.iid = i.iid AND v.origin = 'inference'
    AND substr(v.model, 1, length(?3)) = ?3)
ORDER BY i.iid
"""


def narrow_restated(tx: Transaction, source: Stored, visibility: Visibility) -> None:
    """Have nothing that restates ``source`` seen by more people than it is seen by now.

    Summaries are written anew without it, or withdrawn, in the background.
    """
    rank = _WIDTH.index(visibility)
    wider = [iid for iid, shown in _restating(tx, source) if _WIDTH.index(shown) > rank]
    for iid in wider:
        tx.execute("UPDATE item SET visibility = ? WHERE iid = ?", (visibility.value, iid))
        tx.emit(EventKind.ACCESS, source.cid, iid)
    if wider:
        others = {row.iid for row in dependents(tx, [source.iid])} - set(wider)
        mark_derived(tx, source, reason="is shown to fewer", spare=others)


def deny_restated(tx: Transaction, source: Stored, rule: Grant) -> None:
    """Have a denial on ``source`` hold for what restates it too.

    It stays there until it is taken back there: the words stay the same.
    """
    for iid, _ in _restating(tx, source):
        if not _denied_already(tx, rule, iid):
            tx.add_rule(rule, iid=iid)
            tx.emit(EventKind.ACCESS, source.cid, iid)


def _restating(tx: Transaction, source: Stored) -> list[tuple[int, Visibility]]:
    rows = tx.execute(_SUMMARIES, (source.iid, source.cid, SUMMARY_MODELS)).fetchall()
    answers = [(row.iid, row.visibility) for row in current(tx, borrowing(tx, [source.iid]))]
    return [(iid, Visibility(shown)) for iid, shown in [*rows, *answers]]


def _denied_already(tx: Transaction, rule: Grant, iid: int) -> bool:
    row = tx.execute(
        "SELECT 1 FROM access WHERE tenant = ? AND iid = ? AND subject_kind = ? AND subject = ? "
        "AND effect = 'deny' AND permissions & ? = ? AND (expires IS NULL OR expires >= ?)",
        (
            *(rule.tenant, iid, rule.subject_kind.value, rule.subject),
            *(int(rule.permissions), int(rule.permissions)),
            2**63 - 1 if rule.expires is None else rule.expires,
        ),
    ).fetchone()
    return row is not None
