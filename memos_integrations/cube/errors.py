"""Every error this package raises: one root, one family per cause.

Each class is also the builtin a caller would expect (``PermissionError``, ``ValueError`` ...),
carries the driver's error as ``__cause__``, and its text says what to do next.
"""

from __future__ import annotations


class MemosError(Exception):
    """Root of everything this package raises."""


class UsageError(MemosError, ValueError):
    """The call is wrong; fix the code that makes it."""


class InvalidInput(UsageError):
    """A value cannot be stored or searched as given (empty, too large, not text ...)."""


class InvalidFilter(UsageError):
    """A filter names an unknown field or operator, or compares with a value of the wrong type."""


class UnsupportedFilter(InvalidFilter):
    """The filter is legal, but the asked backend cannot evaluate it."""


class IllegalTransition(UsageError):
    """The lifecycle table has no such step from the item's present state."""

    def __init__(self, event: str, state: str, item: str) -> None:
        super().__init__(
            f"cannot {event} memory {item}: it is {state}. Legal steps are listed in "
            "memos_integrations.operation.lifecycle.TRANSITIONS"
        )
        self.event, self.state, self.item = event, state, item


class ItemFrozen(IllegalTransition, PermissionError):
    """The item is under a legal hold; only a principal with admin rights can thaw it."""

    def __init__(self, event: str, item: str) -> None:
        MemosError.__init__(
            self, f"cannot {event} memory {item}: it is frozen. Thaw it first (needs admin rights)."
        )
        self.event, self.state, self.item = event, "frozen", item


class NotFound(MemosError, KeyError):
    """No such item, cube, task or version is visible to this principal."""

    hidden = False
    """It exists, so this is a denial and goes to the audit log as one."""
    cube: str | None = None
    items: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "not found"


class AccessDenied(MemosError, PermissionError):
    """The principal lacks the right; the refusal is in the audit log."""

    cube: str | None = None
    items: tuple[str, ...] = ()


class Conflict(MemosError):
    """The write does not fit what is stored."""


class VersionConflict(Conflict):
    """Somebody wrote in between: read the item again, then retry."""

    def __init__(self, item: str, *, expected: int, actual: int) -> None:
        super().__init__(
            f"memory {item} is at version {actual}, not {expected}: read it again, then retry"
        )
        self.item, self.expected, self.actual = item, expected, actual


class IdempotencyConflict(Conflict):
    """The same idempotency key came with another request; use a new key."""


class MergeConflict(Conflict):
    """Both sides changed the same items since the fork; choose ``on_conflict``."""

    def __init__(self, items: list[str]) -> None:
        super().__init__(
            f"{len(items)} memories changed on both sides since the fork: "
            f"{', '.join(items[:5])}. Pass on_conflict='ours' or 'theirs', or resolve them first"
        )
        self.items = items


class EmbedderMismatch(Conflict):
    """The cube was embedded by another model; re-embed it or open it with that model."""


class StaleLease(Conflict):
    """The worker's lease ran out and the task went to another; its effect was not applied."""


class BackendUnavailable(MemosError, ConnectionError):
    """An engine did not answer or is locked; retrying can help."""

    retry_after_seconds: float | None = None
    """How long it asked to be left alone, if it did. A task that failed of it rests so long."""


class LLMUnavailable(BackendUnavailable):
    """A language model did not answer, was too slow or refused for load; retrying can help."""


class StorageFull(MemosError, OSError):
    """The disk is full; nothing of this write was kept. Free space, then retry."""


class VaultDamaged(MemosError):
    """The file is not a readable vault; restore a copy or load a dump."""


class AuditBroken(VaultDamaged):
    """The audit chain does not verify; the first broken link is named."""


class HostileArchive(MemosError, ValueError):
    """The archive breaks a limit or a hash; nothing of it was loaded."""


class BrokenDocument(MemosError, ValueError):
    """A document cannot be read as what it says it is, or breaks a limit; nothing was changed."""


class MissingExtra(MemosError, ImportError):
    """A feature needs an optional dependency."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs `pip install 'memos-integrations[{extra}]'`")
        self.feature, self.extra = feature, extra


class TaskFailed(MemosError):
    """The awaited task ended as failed or cancelled; its status holds the reason."""


class TaskTimeout(MemosError, TimeoutError):
    """The awaited task did not end in time; it goes on, ask again."""
