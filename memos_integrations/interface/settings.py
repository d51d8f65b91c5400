"""Settings of one MOS: built once at the edge, handed down by constructor, never global."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.header import MemoryType

ENVIRONMENT_PREFIX = "MEMOS_"


class Settings(BaseModel):
    """How a MOS behaves. Every field has a safe default."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    tenant: str = "default"
    default_user: str = "default"
    """Who asks when no verb names a user or an agent."""
    synchronous: Literal["full", "normal"] = "full"
    """``full``: a returned write survives power loss. ``normal``: faster; power loss may take
    the last commits, never the file."""
    worker: bool = True
    """Run the fine stage in a thread of this process. ``False`` leaves it to ``memos worker``."""
    audit_reads: bool = True
    """Log who read what, in batches. Denials and writes are always logged."""
    audit_key: bytes | None = Field(default=None, repr=False)
    """Key of the audit chain, kept by you; by default one is made and kept in the file."""
    mask_on_write: frozenset[str] = frozenset({"secret"})
    """Labels whose spans are replaced before anything is stored."""
    extract: bool = True
    """Draw facts from what people say in the fine stage. ``False`` keeps words only."""
    retention_seconds: Mapping[MemoryType, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict[MemoryType, float]
    )
    """How long memories of a type are kept when ``add`` gives no ``ttl_seconds``. A legal hold
    beats it."""
    busy_seconds: float = Field(default=10.0, gt=0)
    max_text_chars: int = Field(default=4_000_000, gt=0)
    lease_seconds: float = Field(default=60.0, gt=0)
    hot_bytes: float = Field(default=64 * 1024 * 1024, ge=0)
    """Words kept at hand over all tenants, shared fairly between them."""
    hot_bytes_per_tenant: float | None = Field(default=None, ge=0)
    """At most so many for any one tenant; ``None``: as its fair share has it."""
    kv_memory_bytes: int = Field(default=1024**3, ge=0)
    """KV-caches of local models held in memory, over all tenants."""
    kv_device_bytes: int = Field(default=0, ge=0)
    """Copies of them that stay on each device (GPU) a model runs on; 0: copied at each use."""
    kv_disk_bytes: int = Field(default=8 * 1024**3, ge=0)
    """KV-caches kept in files beside the vault."""
    kv_wait_seconds: float = Field(default=60.0, ge=0)
    """How long a prompt waits for a thread or process that computes the same cache already. Then
    it computes for itself and keeps nothing."""
    adapter_disk_bytes: int = Field(default=2 * 1024**3, ge=0)
    """Adapters of local models kept in files beside the vault."""
    resident_adapters: int = Field(default=16, gt=0)
    """Adapters attached to one model at once."""
    form_seconds: float = Field(default=600.0, ge=0)
    """What one plan may spend on changes of form, shared fairly between tenants."""
    form_bytes: int = Field(default=4 * 1024**3, ge=0)
    """What the forms that the scheduler has decided on may take for all hosted models, shared
    fairly between tenants."""
    form_residence_seconds: float = Field(default=3600.0, ge=0)
    """How long a cube's form stays once it is decided, unless it no longer serves."""
    learn_after_seconds: float = Field(default=30 * 86_400.0, ge=0)
    """From when on the scheduler has an unchanged memory learnt, where that pays."""
    half_life_seconds: float = Field(default=7 * 86_400.0, gt=0)
    """After how long a read counts half."""
    schedule_seconds: float | None = Field(default=None, gt=0)
    """Rebalance in the background at most this often, after writes. ``None``: only when asked."""
    max_waiting_tasks: int = Field(default=10_000, gt=0)
    """From so many open tasks of a tenant on, ``add`` waits for the queue to go down."""
    max_wait_seconds: float = Field(default=5.0, ge=0)
    """How long it waits at most. Then the memory is stored all the same, and the outcome says
    that it is refined later: nothing is dropped."""
    keep_ended_tasks_seconds: float = Field(default=7 * 86_400.0, ge=0)
    """How long the records of completed and cancelled tasks are kept."""
    keep_failed_tasks_seconds: float = Field(default=90 * 86_400.0, ge=0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **given: Any) -> Settings:
        """Settings from ``MEMOS_*`` variables, overridden by ``given``.

        For programs at the edge (the command line does this); the library reads no environment.
        """
        found = {
            name: environment[ENVIRONMENT_PREFIX + name.upper()]
            for name in (
                *("tenant", "default_user", "synchronous", "worker", "audit_reads"),
                *("schedule_seconds", "max_waiting_tasks"),
            )
            if ENVIRONMENT_PREFIX + name.upper() in environment
        }
        try:
            return cls.model_validate(found | given)
        except ValidationError as error:
            raise UsageError(
                f"a MEMOS_ setting is not legal: {error.error_count()} errors in {sorted(found)}"
            ) from error
