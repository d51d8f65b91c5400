"""Who may do what: principals, policies, grants, and the one pure access decision.

The vault evaluates the same decision inside its queries; ``permissions`` here is the readable
form that the tests hold those queries against.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag, StrEnum

from memos_integrations.cube.ids import clean_name, within


class Permission(IntFlag):
    """Rights on a cube or an item; ``ADMIN`` covers freezing, thawing, erasing and auditing."""

    NONE = 0
    READ = 1
    WRITE = 2
    SHARE = 4
    ADMIN = 8
    ALL = 15


class Visibility(StrEnum):
    """Who sees a cube or item without a grant. ``INHERIT`` (items only) means: as the cube."""

    INHERIT = "inherit"
    PRIVATE = "private"
    TENANT = "tenant"
    PUBLIC = "public"


class SubjectKind(StrEnum):
    USER = "user"
    AGENT = "agent"
    ROLE = "role"
    GROUP = "group"


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class Trust(StrEnum):
    """Where a memory's words come from; decides how far they are believed."""

    USER = "user"
    INFERENCE = "inference"
    TOOL = "tool"
    WEB = "web"
    IMPORT = "import"


ADMIN_ROLE = "admin"
"""A principal with this role holds every right inside its own tenant (deny still wins)."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. An agent with a user acts for that user; an agent alone acts for itself."""

    tenant: str = "default"
    user: str | None = None
    agent: str | None = None
    session: str | None = None
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    clearances: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for what in ("tenant", "user", "agent", "session"):
            value = getattr(self, what)
            if value is not None:
                clean_name(value, what)
        for name in (*self.roles, *self.groups, *self.clearances):
            clean_name(name, "role, group or clearance")

    @property
    def name(self) -> str:
        """The owner name for what this principal creates: ``user:alice`` or ``agent:planner``."""
        return f"user:{self.user}" if self.user else f"agent:{self.agent or 'anonymous'}"

    @property
    def is_admin(self) -> bool:
        return ADMIN_ROLE in self.roles

    def subjects(self) -> list[tuple[SubjectKind, str]]:
        """Every (kind, name) a grant can reach this principal by."""
        found: list[tuple[SubjectKind, str]] = []
        if self.user:
            found.append((SubjectKind.USER, self.user))
        if self.agent:
            found.append((SubjectKind.AGENT, self.agent))
        found += [(SubjectKind.ROLE, name) for name in sorted(self.roles)]
        found += [(SubjectKind.GROUP, name) for name in sorted(self.groups)]
        return found


@dataclass(frozen=True, slots=True)
class Grant:
    """One access rule. ``item=None`` reaches the cube ``scope`` and every cube under it."""

    tenant: str
    scope: str
    subject_kind: SubjectKind
    subject: str
    permissions: Permission
    effect: Effect = Effect.ALLOW
    item: str | None = None
    expires: int | None = None
    id: int | None = None

    def reaches(self, principal: Principal, *, path: str, item: str | None, now: int) -> bool:
        """Whether this rule applies to the principal on that cube or item at ``now`` (micros)."""
        return (
            principal.tenant == self.tenant
            and (self.expires is None or self.expires > now)
            and (self.subject_kind, self.subject) in principal.subjects()
            and (within(path, self.scope) if self.item is None else self.item == item)
        )


def permissions(
    principal: Principal,
    *,
    tenant: str,
    path: str,
    cube_owner: str,
    cube_visibility: Visibility,
    grants: Iterable[Grant],
    now: int,
    item: str | None = None,
    item_owner: str | None = None,
    item_visibility: Visibility = Visibility.INHERIT,
    item_labels: Iterable[str] = (),
) -> Permission:
    """The rights of ``principal`` on a cube, or on one of its items. Deny wins over everything.

    Rights come from: owning the cube, the admin role of the tenant, allow grants on the cube or
    the item, and visibility. A private item in a shared cube is hidden from those who only hold
    a grant on the cube, except its own owner. An item with sensitivity labels is nothing to
    whoever lacks a clearance for one of them and owns neither it nor its cube. Other tenants
    never get past ``public`` reads.
    """
    # A rule on a cube is about the tenant's own cube: paths of two tenants may be alike.
    reaching = [
        g
        for g in grants
        if g.reaches(principal, path=path, item=item, now=now)
        and (g.item is not None or g.tenant == tenant)
    ]
    denied = _union(g for g in reaching if g.effect is Effect.DENY)
    home = principal.tenant == tenant
    master = home and (principal.name == cube_owner or principal.is_admin)
    on_cube = Permission.ALL if master else Permission.NONE
    if home:
        on_cube |= _union(g for g in reaching if g.effect is Effect.ALLOW and g.item is None)
    on_cube |= _seen(cube_visibility, home=home)
    if item is None:
        return on_cube & ~denied
    own = home and principal.name == item_owner
    if not (master or own or principal.clearances.issuperset(item_labels)):
        return Permission.NONE
    inherited = on_cube if item_visibility is not Visibility.PRIVATE or master or own else 0
    on_item = _union(g for g in reaching if g.effect is Effect.ALLOW and g.item is not None)
    return (Permission(inherited) | on_item | _seen(item_visibility, home=home)) & ~denied


def _union(grants: Iterable[Grant]) -> Permission:
    total = Permission.NONE
    for grant in grants:
        total |= grant.permissions
    return total


def _seen(visibility: Visibility, *, home: bool) -> Permission:
    if visibility is Visibility.PUBLIC or (visibility is Visibility.TENANT and home):
        return Permission.READ
    return Permission.NONE
