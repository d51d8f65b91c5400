"""A seeded driver holds the vault against a plain-Python model of the same promises.

Each step runs one verb on both: they must refuse alike, and afterwards every principal must read
alike, now and in the past. The model keeps whole version lists in dicts and shares nothing with
the vault but enums, errors and ``cube.acl.permissions``. A failure names its seed and the last
steps; ``walk(folder, seed, steps)`` takes the same way again.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memos_integrations.cube.acl import (
    Effect,
    Grant,
    Permission,
    Principal,
    SubjectKind,
    Visibility,
    permissions,
)
from memos_integrations.cube.errors import (
    AccessDenied,
    IllegalTransition,
    InvalidInput,
    ItemFrozen,
    MemosError,
    MergeConflict,
    NotFound,
    UsageError,
)
from memos_integrations.cube.header import State
from memos_integrations.cube.ids import home_owner, to_micros
from memos_integrations.interface.mos import MOS, MemoryView
from memos_integrations.interface.settings import Settings
from memos_integrations.operation.lifecycle.time_machine import OnConflict
from memos_integrations.testing.fakes import ManualClock

G, A, M, R = State.GENERATED, State.ACTIVATED, State.MERGED, State.ARCHIVED
F, X, D = State.FROZEN, State.EXPIRED, State.DELETED
READ, WRITE, SHARE, ADMIN = Permission.READ, Permission.WRITE, Permission.SHARE, Permission.ADMIN

ALICE = Principal("acme", user="alice")
BOB = Principal("acme", user="bob")
CAROL = Principal("acme", user="carol", roles=frozenset({"admin"}))
DAVE = Principal("acme", user="dave", groups=frozenset({"ops"}), clearances=frozenset({"medical"}))
PLANNER = Principal("acme", agent="planner")
OTHER_ALICE = Principal("globex", user="alice")
EVE = Principal("globex", user="eve", groups=frozenset({"ops"}))
EVERYONE = (ALICE, BOB, CAROL, DAVE, PLANNER, OTHER_ALICE, EVE)
CUBES = (
    (ALICE, "users/alice", "private"),
    (BOB, "users/bob", "private"),
    (PLANNER, "agents/planner", "private"),
    (ALICE, "teams/acme", "private"),
    (BOB, "teams/acme-corp", "tenant"),
    (ALICE, "teams/acme/kb", "private"),
    (OTHER_ALICE, "users/alice", "private"),
    (EVE, "teams/acme", "public"),
)
TOPICS = ("harbour", "orchard", "violin", "granite")
SUBJECTS = ("bob", "dave", "agent:planner", "group:ops", "alice", "role:admin")
RIGHTS = {"read": READ, "write": READ | WRITE, "share": READ | SHARE, "admin": Permission.ALL}
DENIALS = {
    "read": Permission.ALL,
    "write": WRITE | SHARE | ADMIN,
    "share": SHARE | ADMIN,
    "admin": ADMIN,
}
LEGAL = {
    "activate": {G: A, A: A, R: A},
    "revise": {G: G, A: A, R: R},
    "merge": {G: M, A: M},
    "split": {M: A},
    "archive": {G: R, A: R, M: R},
    "freeze": dict.fromkeys((G, A, M, R), F),
    "expire": dict.fromkeys((G, A, M, R), X),
    "delete": dict.fromkeys((G, A, M, R, X), D),
    "restore": dict.fromkeys((G, A, M, R, X, D), A),
}
SHOWN = (G, A, F)
NARROWEST = ("private", "inherit", "tenant", "public")


# -- the model -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Version:
    step: int
    number: int
    state: State
    text: str | None
    time: int
    before: State | None = None
    stale: bool = False
    merged_into: str | None = None
    conversation: str | None = None
    speaker: str | None = None
    source: str | None = None
    valid_from: int = 0
    valid_to: int | None = None
    tags: tuple[str, ...] = ()

    @property
    def face(self) -> tuple[object, ...]:
        return () if self.text is None else (self.text, self.valid_from, self.valid_to, self.tags)


@dataclass
class Cube:
    tenant: str
    path: str
    owner: str
    visibility: str
    fork_of: Cube | None = None
    fork_step: int = 0
    barred: set[str] = field(default_factory=set)


@dataclass
class Item:
    id: str
    serial: int
    cube: Cube
    owner: str
    visibility: str = "inherit"
    labels: tuple[str, ...] = ()
    expires: int | None = None
    held: bool = False
    quarantined: bool = False
    origin: str | None = None
    versions: list[Version] = field(default_factory=list)

    @property
    def now(self) -> Version:
        return self.versions[-1]

    def at(self, step: int | None) -> Version | None:
        if step is None:
            return self.now
        return next((v for v in reversed(self.versions) if v.step <= step), None)


@dataclass
class Edge:
    source: str
    relation: str
    target: str
    start: int
    end: int | None = None

    def there(self, step: int | None) -> bool:
        if step is None:
            return self.end is None
        return self.start <= step and (self.end is None or self.end > step)


class Model:
    """What the docstrings promise, on dicts and lists."""

    def __init__(self) -> None:
        self.cubes: dict[tuple[str, str], Cube] = {}
        self.items: dict[str, Item] = {}
        self.edges: list[Edge] = []
        self.grants: list[Grant] = []
        self.waiting: list[str] = []
        self.step = 0
        self.now = 0
        self._serial = 0

    # rights

    def on_cube(self, who: Principal, cube: Cube) -> Permission:
        return permissions(
            who,
            tenant=cube.tenant,
            path=cube.path,
            cube_owner=cube.owner,
            cube_visibility=Visibility(cube.visibility),
            grants=self.grants,
            now=self.now,
        )

    def on_item(self, who: Principal, item: Item) -> Permission:
        if item.expires is not None and item.expires <= self.now and not item.held:
            return Permission.NONE
        return permissions(
            who,
            tenant=item.cube.tenant,
            path=item.cube.path,
            cube_owner=item.cube.owner,
            cube_visibility=Visibility(item.cube.visibility),
            grants=self.grants,
            now=self.now,
            item=item.id,
            item_owner=item.owner,
            item_visibility=Visibility(item.visibility),
            item_labels=item.labels,
        )

    def item(self, who: Principal, item_id: str, need: Permission = WRITE) -> Item:
        found = self.items.get(item_id)
        held = self.on_item(who, found) if found else Permission.NONE
        if found and need & held:
            return found
        raise AccessDenied(item_id) if held & READ else NotFound(item_id)

    def cube(self, who: Principal, path: str, need: Permission) -> Cube:
        """A cube that is not there is refused as one that may not be seen."""
        found = self.cubes.get((who.tenant, path))
        if found is None or not self.on_cube(who, found) & need:
            raise AccessDenied(path)
        return found

    def _ensure_free(self, who: Principal, path: str) -> None:
        """A new cube may lie in one's own home, and neither under nor over others' cubes."""
        own = f"users/{who.user}" if who.user else f"agents/{who.agent}"
        home = path.split("/", maxsplit=1)[0] in ("users", "agents")
        refused = home and not f"{path}/".startswith(f"{own}/") and not who.is_admin
        for cube in self.cubes.values():
            if cube.tenant != who.tenant:
                continue
            if path.startswith(f"{cube.path}/"):
                refused |= not self.on_cube(who, cube) & WRITE
            if cube.path.startswith(f"{path}/"):
                refused |= cube.owner != who.name and not who.is_admin
        if refused:
            raise AccessDenied(path)

    # life

    def _next(self, item: Item, event: str) -> State:
        state = item.now.state
        if state is F and event != "thaw":
            raise ItemFrozen(event, item.id)
        if state not in LEGAL[event]:
            raise IllegalTransition(event, state.value, item.id)
        return LEGAL[event][state]

    def _write(self, item: Item, base: Version | None = None, **changes: Any) -> None:
        number = item.now.number + 1
        item.versions.append(replace(base or item.now, step=self.step, number=number, **changes))

    def _new(self, cube: Cube, item_id: str, owner: str, first: Version, **about: Any) -> Item:
        self._serial += 1
        item = Item(item_id, self._serial, cube, owner, **about)
        item.quarantined = item.quarantined or first.source in cube.barred
        item.versions.append(replace(first, step=self.step, number=1))
        self.items[item_id] = item
        return item

    def _spread(self, item_id: str, *, spare: Iterable[str] = ()) -> None:
        """Whatever was derived from the item, over any number of steps, turns stale."""
        seen, todo = {item_id}, [item_id]
        while todo:
            source = todo.pop()
            for edge in self.edges:
                derived = edge.relation == "derived_from" and edge.target == source
                if derived and edge.there(None) and edge.source not in seen:
                    seen.add(edge.source)
                    todo.append(edge.source)
        for found in sorted(seen - {item_id} - set(spare)):
            item = self.items[found]
            if item.now.text is not None and not item.now.stale:
                self._write(item, stale=True)

    # verbs; ``got`` is what the vault returned, for the ids it chose

    def add(self, who: Principal, path: str, got: Any, text: str, about: dict[str, Any]) -> None:
        cube = self.cubes.get((who.tenant, path))
        found = cube is None
        if cube is None:
            self._ensure_free(who, path)
            cube = Cube(who.tenant, path, home_owner(path) or who.name, "private")
        if not self.on_cube(who, cube) & WRITE:
            raise AccessDenied(path)
        for source in about["derived_from"]:
            self.item(who, source, READ)
        if found:
            self.cubes[who.tenant, path] = cube
        ttl, session = about["ttl_seconds"], about["session"]
        valid_to = about["valid_to"]
        first = Version(
            self.step,
            1,
            G,
            text,
            self.now,
            conversation=session,
            speaker=who.user or "user",
            source=about["source"] or (f"session:{session}" if session else None),
            valid_from=self.now,
            valid_to=None if valid_to is None else to_micros(valid_to),
        )
        item = self._new(
            cube,
            got.id,
            who.name,
            first,
            visibility=about["visibility"],
            labels=tuple(about["labels"]),
            expires=None if ttl is None else self.now + int(ttl * 1e6),
        )
        for source in about["derived_from"]:
            self.edges.append(Edge(item.id, "derived_from", source, self.step))
        self.waiting.append(item.id)

    def update(self, who: Principal, item_id: str, text: str | None, tags: list[str]) -> None:
        item = self.item(who, item_id)
        state = self._next(item, "revise")
        if text is None:
            self._write(item, state=state, stale=False, tags=tuple(tags))
            return
        self._write(item, state=state, stale=False, text=text)
        self._spread(item_id)
        self.waiting.append(item_id)

    def delete(self, who: Principal, item_id: str) -> None:
        item = self.item(who, item_id)
        self._write(item, state=self._next(item, "delete"), text=None)
        self._spread(item_id)

    def archive(self, who: Principal, item_id: str) -> None:
        item = self.item(who, item_id)
        self._write(item, state=self._next(item, "archive"))
        self._spread(item_id)

    def activate(self, who: Principal, item_id: str) -> None:
        item = self.item(who, item_id)
        self._write(item, state=self._next(item, "activate"), stale=False)

    def freeze(self, who: Principal, item_id: str) -> None:
        item = self.item(who, item_id, ADMIN)
        before = item.now.state
        self._write(item, state=self._next(item, "freeze"), before=before)
        item.held = True

    def thaw(self, who: Principal, item_id: str) -> None:
        item = self.item(who, item_id, ADMIN)
        if item.now.state is not F:
            raise IllegalTransition("thaw", item.now.state.value, item_id)
        self._write(item, state=item.now.before, before=None)
        item.held = False

    def merge(self, who: Principal, ids: list[str], text: str, got: Any) -> None:
        if len(set(ids)) < 2:
            raise UsageError("merge needs two")
        olds = [self.item(who, each) for each in ids]
        cube = olds[0].cube
        if not self.on_cube(who, cube) & WRITE:
            raise AccessDenied(cube.path)
        if len({old.cube.path for old in olds}) > 1:
            raise UsageError("merge")
        for old in olds:
            self._next(old, "merge")
        newest = max(olds, key=lambda old: old.now.time)
        first = Version(
            self.step,
            1,
            G,
            text,
            newest.now.time,
            speaker=newest.now.speaker,
            valid_from=newest.now.time,
            tags=tuple(sorted({tag for old in olds for tag in old.now.tags})),
        )
        new = self._new(
            cube,
            got.id,
            who.name,
            first,
            visibility=min((old.visibility for old in olds), key=NARROWEST.index),
            labels=tuple(sorted({label for old in olds for label in old.labels})),
            expires=min((old.expires for old in olds if old.expires), default=None),
        )
        for part in dict.fromkeys(ids):
            self.edges.append(Edge(new.id, "derived_from", part, self.step))
            self._write(self.items[part], state=M, merged_into=new.id)
            self._keep_hidden(who, self.items[part], new)
        self.waiting.append(new.id)

    def split(self, who: Principal, item_id: str) -> None:
        item = self.item(who, item_id)
        if item.now.state is M:
            self._write(item, state=A, merged_into=None)
            return
        parts = [each for each in self.items.values() if each.now.merged_into == item_id]
        parts = [each for each in parts if each.now.state in (M, F)]
        if not parts:
            raise UsageError("split")
        for part in parts:
            self.item(who, part.id)
        for part in parts:
            self._next(part, "split")
        made = any(
            e.source == item_id and e.relation == "derived_from" and e.target == parts[0].id
            for e in self.edges
        )
        if made and item.now.state is not R:
            self._next(item, "archive")
        for part in parts:
            self._write(part, state=A, merged_into=None)
        if made and item.now.state is not R:
            self._write(item, state=R)
            self._spread(item_id)

    def link(self, who: Principal, source: str, relation: str, target: str) -> None:
        one = self._linkable(who, source, relation, target)
        if not any(
            (e.source, e.relation, e.target) == (source, relation, target) and e.there(None)
            for e in self.edges
        ):
            self.edges.append(Edge(one.id, relation, target, self.step))

    def unlink(self, who: Principal, source: str, relation: str, target: str) -> None:
        self._linkable(who, source, relation, target)
        for edge in self.edges:
            ends = (edge.source, edge.relation, edge.target)
            if ends == (source, relation, target) and edge.end is None:
                edge.end = self.step
                return
        raise InvalidInput("no link")

    def _linkable(self, who: Principal, source: str, relation: str, target: str) -> Item:
        one = self.item(who, source)
        self.item(who, target, READ)
        if source == target:
            raise InvalidInput("itself")
        if one.now.state is F:
            raise ItemFrozen("link", source)
        if relation == "derived_from" and one.owner != who.name:
            self.item(who, source, ADMIN)  # what is derived goes when its source is erased
        return one

    # governance

    def _keep_hidden(self, who: Principal, old: Item, new: Item) -> None:
        """Quarantine and denials on the memory travel, but for those that hit the maker."""
        new.quarantined = new.quarantined or old.quarantined
        self.grants += [
            replace(rule, item=new.id, scope=new.cube.path)
            for rule in self.grants
            if rule.item == old.id
            and rule.effect is Effect.DENY
            and rule.tenant == new.cube.tenant
            and (rule.subject_kind, rule.subject) not in who.subjects()
        ]

    def _target(self, who: Principal, path: str | None, item_id: str | None) -> tuple[Cube, Any]:
        if item_id is not None:
            item = self.item(who, item_id, SHARE)
            return item.cube, item
        assert path is not None
        found = self.cubes[who.tenant, path]
        if not self.on_cube(who, found) & SHARE:
            raise AccessDenied(path)
        return found, None

    def rule(
        self,
        who: Principal,
        path: str | None,
        item_id: str | None,
        to: str,
        rights: Permission,
        effect: Effect,
        ttl: float | None,
    ) -> None:
        cube, item = self._target(who, path, item_id)
        until = None if ttl is None else self.now + int(ttl * 1e6)
        self._ensure_held(who, cube, item, rights, until)
        self._ensure_may_replace(who, cube, item, to, effect)
        self._drop_rule(who, cube, item_id, to, effect)
        kind, name = subject(to)
        self.grants.append(Grant(who.tenant, cube.path, kind, name, rights, effect, item_id, until))

    def _ensure_held(
        self, who: Principal, cube: Cube, item: Item | None, rights: Permission, until: int | None
    ) -> None:
        """Nobody passes on a right, nor beyond the time it is held for."""
        for at in (self.now, 2**60 if until is None else until - 1):
            if rights & ~self._at(at, who, cube, item):
                raise AccessDenied("cannot pass on")

    def _at(self, at: int, who: Principal, cube: Cube, item: Item | None) -> Permission:
        now = self.now
        if item is not None and item.expires is not None:  # the memory itself may end first
            at = max(now, min(at, item.expires - 1))
        self.now = at
        held = self.on_item(who, item) if item else self.on_cube(who, cube)
        self.now = now
        return held

    def _ensure_may_replace(
        self, who: Principal, cube: Cube, item: Item | None, to: str, effect: Effect
    ) -> None:
        """A rule that goes beyond one's own rights stands."""
        key = (who.tenant, cube.path, item.id if item else None, *subject(to), effect)
        for g in self.grants:
            live = g.expires is None or g.expires > self.now
            if (g.tenant, g.scope, g.item, g.subject_kind, g.subject, g.effect) == key and live:
                self._ensure_held(who, cube, item, g.permissions, g.expires)

    def revoke(
        self, who: Principal, path: str | None, item_id: str | None, to: str, effect: Effect
    ) -> None:
        cube, item = self._target(who, path, item_id)
        self._ensure_may_replace(who, cube, item, to, effect)
        if not self._drop_rule(who, cube, item_id, to, effect):
            raise NotFound("no rule")

    def _drop_rule(
        self, who: Principal, cube: Cube, item_id: str | None, to: str, effect: Effect
    ) -> bool:
        key = (who.tenant, cube.path, item_id, *subject(to), effect)
        before = len(self.grants)
        self.grants = [
            g
            for g in self.grants
            if (g.tenant, g.scope, g.item, g.subject_kind, g.subject, g.effect) != key
        ]
        return len(self.grants) < before

    def set_visibility(
        self, who: Principal, path: str | None, item_id: str | None, shown: str
    ) -> None:
        if item_id is None and shown == "inherit":
            raise InvalidInput("inherit")
        cube, item = self._target(who, path, item_id)
        self._ensure_held(who, cube, item, SHARE, None)
        (item or cube).visibility = shown

    def set_quarantine(self, who: Principal, path: str, source: str, flag: bool) -> list[str]:
        cube = self.cube(who, path, ADMIN)
        hit = [
            item
            for item in self.items.values()
            if item.cube is cube
            and item.quarantined is not flag
            and any(v.source == source for v in item.versions)
        ]
        hit.sort(key=lambda each: each.serial)
        (cube.barred.add if flag else cube.barred.discard)(source)
        for item in hit:
            item.quarantined = flag
        for item in hit if flag else []:
            self._spread(item.id)
        return [item.id for item in hit]

    def erase(self, who: Principal, item_id: str) -> set[str]:
        """What the asker is told of; more may go that is hidden from it."""
        asked = self.item(who, item_id, ADMIN)
        if asked.now.state is F:
            raise ItemFrozen("delete", item_id)
        taken, todo = {item_id}, [item_id]
        while todo:  # what was merged into it, and into that
            one = todo.pop()
            parts = [
                i.id
                for i in self.items.values()
                if i.now.merged_into == one and self.on_item(who, i) & ADMIN
            ]
            todo += [part for part in parts if part not in taken]
            taken.update(parts)
        todo = list(taken)
        while todo:  # what was ever derived or copied from any of it
            one = todo.pop()
            more = {
                e.source for e in self.edges if e.relation == "derived_from" and e.target == one
            }
            more |= {i.id for i in self.items.values() if i.origin == one}
            todo += sorted(more - taken)
            taken |= more
        gone = {each for each in taken if not self.items[each].held}
        told = {each for each in gone if self.on_item(who, self.items[each]) & READ} | {item_id}
        for item in self.items.values():
            if item.id not in taken and item.now.merged_into in gone and item.now.state is M:
                self._write(item, state=A, merged_into=None)
        self.items = {key: item for key, item in self.items.items() if key not in gone}
        self.edges = [e for e in self.edges if e.source not in gone and e.target not in gone]
        self.grants = [g for g in self.grants if g.item not in gone]
        return told

    # upkeep

    def expire_due(self) -> None:
        due = [
            item
            for item in self.items.values()
            if item.expires is not None
            and item.expires <= self.now
            and not item.held
            and item.now.state not in (X, D)
        ]
        for item in sorted(due, key=lambda each: (each.expires, each.serial)):
            self._write(item, state=X, text=None)
            self._spread(item.id)

    def work(self) -> None:
        """The fine stage without a model: repeats are folded, the rest is activated."""
        self.expire_due()
        for item_id in self.waiting:
            item = self.items.get(item_id)
            if item is None or item.now.state is not G:
                continue
            kept = min(
                (o for o in self.items.values() if self._repeats(item, o)),
                key=lambda each: each.serial,
                default=None,
            )
            if kept is None:
                self._write(item, state=A)
            else:
                self._write(item, state=M, merged_into=kept.id)
        self.waiting = []

    def _repeats(self, item: Item, other: Item) -> bool:
        def key(one: Item) -> tuple[object, ...]:
            return (
                one.cube.tenant,
                one.cube.path,
                one.owner,
                one.visibility,
                one.labels,
                one.expires,
                one.now.speaker,
                one.now.text,
                one.now.valid_to,
            )

        live = other.now.state in SHOWN and not other.now.stale and not other.quarantined
        return live and other.serial < item.serial and key(item) == key(other)

    # time

    def rollback(self, who: Principal, item_id: str, number: int) -> None:
        item = self.item(who, item_id)
        target = next((v for v in item.versions if v.number == number), None)
        if target is None:
            raise NotFound("version")
        if target.text is None:
            raise InvalidInput("tombstone")
        self._next(item, "restore")
        self._write(item, target, state=target.before or target.state, before=None, stale=False)
        self._spread(item_id)

    def rollback_cube(self, who: Principal, path: str, to: int) -> list[str]:
        cube = self.cube(who, path, ADMIN)
        changed: list[str] = []
        for item in sorted(self.items.values(), key=lambda each: each.serial):
            if item.cube is not cube or item.now.state is F or item.now.step <= to:
                continue
            then = item.at(to)
            if then is None or then.text is None:
                if item.now.text is None:
                    continue
                self._write(item, state=self._next(item, "delete"), text=None)
            else:
                self._next(item, "restore")
                self._write(item, then, state=then.before or then.state, before=None)
            changed.append(item.id)
        for each in changed:
            self._spread(each, spare=changed)
        return changed

    def fork(
        self, who: Principal, path: str, name: str, to: int | None, copies: dict[str, str]
    ) -> None:
        """``copies`` maps each item of the source to the id the vault gave its copy."""
        source = self.cube(who, path, READ)
        self._ensure_free(who, name)
        if (who.tenant, name) in self.cubes:
            raise UsageError("taken")
        at = self.step - 1 if to is None else to
        branch = Cube(who.tenant, name, home_owner(name) or who.name, "private", source, at)
        self.cubes[who.tenant, name] = branch
        new: dict[str, str] = {}
        for item, _ in self._ordered(i for i in self.items.values() if i.cube is source):
            then = item.at(at)
            if then is None or then.text is None or not self.on_item(who, item) & READ:
                continue
            state = then.before or then.state
            state = R if state is M else state
            first = replace(then, state=state, before=None, merged_into=None)
            new[item.id] = copies.get(item.id, f"no copy of {item.id}")
            self._copy(who, branch, new[item.id], item, first)
        assert set(new) == set(copies), "the fork holds other memories than the model's"
        for edge in list(self.edges):
            if edge.source in new and edge.target in new and edge.there(at):
                pair = (new[edge.source], edge.relation, new[edge.target])
                self.edges.append(Edge(*pair, self.step))

    def _copy(self, who: Principal, cube: Cube, made: str, item: Item, first: Version) -> None:
        copy = self._new(
            cube,
            made,
            who.name,
            first,
            visibility="private" if item.visibility == "private" else "inherit",
            labels=item.labels,
            expires=item.expires,
            origin=item.id,
        )
        self._keep_hidden(who, item, copy)

    @staticmethod
    def _ordered(items: Iterable[Item]) -> list[tuple[Item, Version]]:
        return sorted(((i, i.now) for i in items), key=lambda p: (p[0].now.time, p[0].serial))

    def merge_branch(self, who: Principal, name: str, on_conflict: str, got: list[str]) -> None:
        branch = self.cube(who, name, READ)
        base = branch.fork_of
        if base is None or base.tenant != who.tenant:
            raise InvalidInput("no fork")
        if not self.on_cube(who, base) & WRITE:
            raise AccessDenied(base.path)
        new: list[Item] = []
        take: list[tuple[Item, Item, Version]] = []
        conflicts: list[tuple[Item, Item, Version]] = []
        back = {i.origin: i for i in self.items.values() if i.cube is base and i.origin}
        for theirs, now in self._ordered(i for i in self.items.values() if i.cube is branch):
            if not self.on_item(who, theirs) & READ:
                continue
            mine = self.items.get(theirs.origin) if theirs.origin else back.get(theirs.id)
            if mine is None or mine.cube is not base:
                if now.text is not None and theirs.origin is None:
                    new.append(theirs)
                continue
            then = mine.at(branch.fork_step) or mine.versions[0]
            copied = theirs.at(branch.fork_step) or theirs.versions[0]
            if now.face in (copied.face, mine.now.face):
                continue
            found = take if mine.now.face == then.face else conflicts
            found.append((mine, theirs, copied))
        if conflicts and on_conflict == "error":
            raise MergeConflict([])
        take += conflicts if on_conflict == "theirs" else []
        for mine, theirs, _ in take:  # all refusals come before the first change
            self.item(who, mine.id)
            self._next(mine, "delete" if theirs.now.text is None else "restore")
        came = [theirs.now for theirs in new]
        for mine, now, copied in [(mine, theirs.now, copied) for mine, theirs, copied in take]:
            self._take(mine, now, copied)
        for theirs, now, made in zip(new, came, got[len(take) :], strict=True):
            state = now.before or now.state
            first = replace(
                now,
                state=R if state is M else state,
                before=None,
                merged_into=None,
            )
            self._copy(who, base, made, theirs, first)
        # What the base was told is looked at again; what is rough by then is refined as well.
        settled = [i.id for i in self.items.values() if i.cube is base and i.now.text is not None]
        self.waiting += [i for i in settled if self.items[i].now.state is not G]
        if WRITE in self.on_cube(who, branch):
            branch.fork_step = self.step

    def _take(self, mine: Item, theirs: Version, copied: Version) -> None:
        """Field by field what the branch changed; everything where the base has nothing."""
        if theirs.text is None:
            self._write(mine, state=D, text=None)
        else:
            state = theirs.before or theirs.state
            names = ("text", "valid_from", "valid_to", "tags")
            fields = {
                name: getattr(theirs, name)
                for name in names
                if mine.now.text is None or getattr(theirs, name) != getattr(copied, name)
            }
            self._write(mine, state=R if state is M else state, stale=False, **fields)
        self._spread(mine.id)

    # reads

    def kept(self, who: Principal, cube: Cube, step: int | None) -> list[str]:
        found = [
            (item, then)
            for item in self.items.values()
            if item.cube is cube
            and (then := item.at(step)) is not None
            and then.text is not None
            and then.state is not M
            and self.on_item(who, item) & READ
        ]
        found.sort(key=lambda pair: (-pair[1].time, -pair[0].serial))
        return [item.id for item, _ in found]

    def listing(
        self, who: Principal, path: str, step: int | None, session: str | None = None
    ) -> list[str]:
        cube = self.cubes.get((who.tenant, path))
        found = self.kept(who, cube, step) if cube else []
        if cube is None or not (found or self.on_cube(who, cube) & READ):
            raise AccessDenied(path)
        if session is None:
            return found
        return [i for i in found if _then(self.items[i], step).conversation == session]

    def hits(
        self,
        who: Principal,
        path: str,
        word: str | None,
        step: int | None,
        valid: int | None = None,
    ) -> set[str]:
        """What a search for a word must find; without a word, all that it may show."""
        cube = self.cubes.get((who.tenant, path))
        shown = (
            [i for i in self.kept(who, cube, step) if self._found(i, step, valid)] if cube else []
        )
        if cube is None or not (shown or self.on_cube(who, cube) & READ):
            raise AccessDenied(path)
        if word is None:
            return set(shown)
        return {i for i in shown if word in (_then(self.items[i], step).text or "").split()}

    def _found(self, item_id: str, step: int | None, valid: int | None) -> bool:
        item = self.items[item_id]
        then = _then(item, step)
        at = self.now if valid is None else valid
        holds = then.valid_to is None or then.valid_to > at
        holds = holds and (valid is None or then.valid_from <= at)
        return holds and then.state in SHOWN and not then.stale and not item.quarantined

    def face(self, who: Principal, item_id: str, step: int | None) -> dict[str, object]:
        item = self.items.get(item_id)
        then = item.at(step) if item and self.on_item(who, item) & READ else None
        if item is None or then is None or then.text is None:
            raise NotFound(item_id)
        return {
            "text": then.text,
            "version": then.number,
            "state": then.state,
            "stale": then.stale,
            "owner": item.owner,
            "conversation": then.conversation,
            "tags": then.tags,
            "merged_into": then.merged_into if then.merged_into in self.items else None,
            "legal_hold": item.held,
            "quarantined": item.quarantined,
        }

    def history(self, who: Principal, item_id: str) -> list[tuple[object, ...]]:
        item = self.item(who, item_id, READ) if item_id in self.items else None
        if item is None:
            raise NotFound(item_id)
        return [(v.number, v.state, v.stale, v.text or "") for v in item.versions]

    def links(self, who: Principal, item_id: str, step: int | None) -> set[tuple[str, str, str]]:
        item = self.items.get(item_id)
        if item is None or item.at(step) is None or not self.on_item(who, item) & READ:
            raise NotFound(item_id)
        return {
            (e.source, e.relation, e.target)
            for e in self.edges
            if item_id in (e.source, e.target)
            and e.there(step)
            and all(
                self.items[end].at(step) is not None and self.on_item(who, self.items[end]) & READ
                for end in (e.source, e.target)
            )
        }


def _then(item: Item, step: int | None) -> Version:
    found = item.at(step)
    assert found is not None
    return found


def subject(to: str) -> tuple[SubjectKind, str]:
    kind, colon, name = to.partition(":")
    return (SubjectKind(kind), name) if colon else (SubjectKind.USER, to)


# -- the driver ------------------------------------------------------------------------------


class Machine:
    """One vault and one model, walked together by a seed."""

    def __init__(self, path: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.path = path
        self.clock = ManualClock()
        self.model = Model()
        self.log: list[str] = []
        self.positions: list[tuple[int, int, datetime]] = []
        self.words = 0
        self.forks = 0
        self.last: str | None = None
        self.refusals = 0
        self.mos = self._open()
        self.raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        self._found_cubes()

    def _open(self) -> MOS:
        settings = Settings(synchronous="normal", worker=False)
        return MOS(self.path, embedder=None, clock=self.clock, settings=settings)

    def close(self) -> None:
        self.raw.close()
        self.mos.close()

    def _found_cubes(self) -> None:
        self._tick()
        for who, path, shown in CUBES:
            self.mos.acting(who).create_cube(path, visibility=shown)
            self.model.cubes[who.tenant, path] = Cube(
                who.tenant, path, home_owner(path) or who.name, shown
            )
        self._remember()

    def take_step(self) -> None:
        self._tick()
        names, weights = zip(*STEPS.items(), strict=True)
        (name,) = self.random.choices(names, weights)
        getattr(self, name)()
        self._remember()

    def prove(self) -> None:
        report = self.mos.check()
        assert report.sound, report.findings
        assert self.mos.audit_verify().intact

    def _tick(self) -> None:
        self.clock.advance(seconds=1)
        self.model.step += 1
        self.model.now = to_micros(self.clock.now())

    def _remember(self) -> None:
        seq = self.raw.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()[0]
        self.positions.append((self.model.step, seq, self.clock.now()))

    def attempt(
        self,
        what: str,
        vault: Callable[[], Any],
        model: Callable[[Any], object],
    ) -> Any:
        """Run both; they must accept or refuse alike. The vault's result, if accepted."""
        self.log.append(f"{self.model.step}: {what}")
        got, refused = outcome(vault)
        expected: type[BaseException] | None = None
        try:
            model(got)
        except MemosError as error:
            expected = type(error)
        assert type(refused) is (expected or type(None)), f"{what}: {refused!r}, not {expected}"
        self.refusals += refused is not None
        return got

    # choices

    def who(self, cube: Cube | None = None) -> Principal:
        """Mostly somebody who may; sometimes anybody."""
        if cube is not None and self.random.random() < 0.75:
            return next(p for p in EVERYONE if (p.tenant, p.name) == (cube.tenant, cube.owner))
        return self.random.choice(EVERYONE)

    def some_cube(self) -> Cube:
        return self.random.choice(list(self.model.cubes.values()))

    def some_item(self) -> Item:
        """Any item; one touched lately more often than others."""
        items = list(self.model.items.values())
        if not items:
            raise _Nothing
        lively = self.random.random() < 0.5
        return self.random.choice(items[-8:] if lively else items)

    def text(self) -> str:
        self.words += 1
        return f"{self.random.choice(TOPICS)} note zq{self.words}x"

    # steps

    def step_add(self) -> None:
        cube = self.some_cube()
        who = self.who(cube)
        near = [i for i in self.model.items.values() if i.cube.tenant == who.tenant]
        sources = self.random.sample(near, min(len(near), self.random.choice((0, 0, 1, 2))))
        text = self.text()
        alike = [i.now.text for i in near if i.cube is cube and i.now.text]
        if alike and self.random.random() < 0.1:
            text = self.random.choice(alike)
        soon = self.clock.now() + timedelta(seconds=self.random.randint(5, 60))
        about: dict[str, Any] = {
            "derived_from": [source.id for source in sources],
            "session": self.random.choice((None, None, "s1", "s2")),
            "ttl_seconds": self.random.choice((None, None, None, None, 20, 60)),
            "visibility": self.random.choice(("inherit",) * 4 + ("private", "tenant", "public")),
            "labels": self.random.choice(([], [], [], ["medical"], ["legal"])),
            "source": self.random.choice((None, None, "web:page")),
            "valid_to": self.random.choice((None, None, None, soon)),
        }
        got = self.attempt(
            f"{who.name} adds {text!r} to {cube.path} {about}",
            lambda: self.mos.acting(who).add(text, cube=cube.path, **about),
            lambda got: self.model.add(who, cube.path, got, text, about),
        )
        self.last = got.id if got else self.last

    def step_update(self) -> None:
        item, who = self._item_and_who()
        text = self.text() if self.random.random() < 0.8 else None
        tags = [self.random.choice(("red", "blue"))]
        self.attempt(
            f"{who.name} updates {item.id} to {text or tags}",
            lambda: self.mos.acting(who).update(item.id, text, tags=None if text else tags),
            lambda _: self.model.update(who, item.id, text, tags),
        )

    def _item_and_who(self) -> tuple[Item, Principal]:
        item = self.some_item()
        self.last = item.id
        return item, self.who(item.cube)

    def _simple(self, verb: str) -> None:
        item, who = self._item_and_who()
        self.attempt(
            f"{who.name} {verb}s {item.id} ({item.now.state})",
            lambda: getattr(self.mos.acting(who), verb)(item.id),
            lambda _: getattr(self.model, verb)(who, item.id),
        )

    def step_delete(self) -> None:
        self._simple("delete")

    def step_archive(self) -> None:
        self._simple("archive")

    def step_activate(self) -> None:
        self._simple("activate")

    def step_freeze(self) -> None:
        self._simple("freeze")

    def step_thaw(self) -> None:
        frozen = [i for i in self.model.items.values() if i.now.state is F]
        item = self.random.choice(frozen) if frozen else self.some_item()
        who = self.who(item.cube)
        self.last = item.id
        self.attempt(
            f"{who.name} thaws {item.id}",
            lambda: self.mos.acting(who).thaw(item.id),
            lambda _: self.model.thaw(who, item.id),
        )

    def step_split(self) -> None:
        merged = [i.now.merged_into or i.id for i in self.model.items.values() if i.now.state is M]
        merged += [i.id for i in self.model.items.values() if i.now.state is M]
        known = [each for each in merged if each in self.model.items]
        item = self.model.items[self.random.choice(known)] if known else self.some_item()
        who = self.who(item.cube)
        self.last = item.id
        self.attempt(
            f"{who.name} splits {item.id} ({item.now.state})",
            lambda: self.mos.acting(who).split(item.id),
            lambda _: self.model.split(who, item.id),
        )

    def step_merge(self) -> None:
        first, who = self._item_and_who()
        near = [i for i in self.model.items.values() if i.cube is first.cube and i is not first]
        if self.random.random() < 0.9:
            near = [i for i in near if i.now.state in (G, A)]
        others = self.random.sample(near, min(len(near), self.random.choice((0, 1, 1, 2))))
        if self.random.random() < 0.1:
            others.append(self.some_item())
        ids = [first.id, *(other.id for other in others)]
        text = self.text()
        self.attempt(
            f"{who.name} merges {ids} as {text!r}",
            lambda: self.mos.acting(who).merge(ids, text),
            lambda got: self.model.merge(who, ids, text, got),
        )

    def step_link(self) -> None:
        source, who = self._item_and_who()
        target = self.some_item()
        relation = self.random.choice(("relates_to", "derived_from", "supersedes"))
        self.attempt(
            f"{who.name} links {source.id} {relation} {target.id}",
            lambda: self.mos.acting(who).link(source.id, relation, target.id),
            lambda _: self.model.link(who, source.id, relation, target.id),
        )

    def step_unlink(self) -> None:
        there = [edge for edge in self.model.edges if edge.there(None)]
        if not there:
            raise _Nothing
        edge = self.random.choice(there)
        who = self.who(self.model.items[edge.source].cube)
        relation = self.random.choice((edge.relation,) * 9 + ("mentions",))
        self.attempt(
            f"{who.name} unlinks {edge.source} {relation} {edge.target}",
            lambda: self.mos.acting(who).unlink(edge.source, relation, edge.target),
            lambda _: self.model.unlink(who, edge.source, relation, edge.target),
        )

    def _target(self) -> tuple[str | None, str | None, Principal]:
        if self.random.random() < 0.5 and self.model.items:
            item, who = self._item_and_who()
            return None, item.id, who
        cube = self.some_cube()
        who = self.who(cube)
        if (who.tenant, cube.path) not in self.model.cubes:
            raise _Nothing
        return cube.path, None, who

    def _rule(self, verb: str, table: dict[str, Permission], effect: Effect) -> None:
        path, item_id, who = self._target()
        to, name = self.random.choice(SUBJECTS), self.random.choice(list(table))
        ttl = self.random.choice((None, None, 15, 90))
        self.attempt(
            f"{who.name} {verb} {name} on {item_id or path} to {to} for {ttl}",
            lambda: getattr(self.mos.acting(who), verb)(
                item_id, to=to, permission=name, ttl_seconds=ttl, cube=path
            ),
            lambda _: self.model.rule(who, path, item_id, to, table[name], effect, ttl),
        )

    def step_share(self) -> None:
        self._rule("share", RIGHTS, Effect.ALLOW)

    def step_deny(self) -> None:
        self._rule("deny", DENIALS, Effect.DENY)

    def step_revoke(self) -> None:
        path, item_id, who = self._target()
        to, denial = self.random.choice(SUBJECTS), self.random.random() < 0.6
        if self.model.grants and self.random.random() < 0.8:
            rule = self.random.choice(self.model.grants)
            path, item_id = (None, rule.item) if rule.item else (rule.scope, None)
            to, denial = f"{rule.subject_kind.value}:{rule.subject}", rule.effect is Effect.DENY
            who = self.random.choice([p for p in EVERYONE if p.tenant == rule.tenant])
        effect = Effect.DENY if denial else Effect.ALLOW
        self.attempt(
            f"{who.name} revokes {effect} on {item_id or path} from {to}",
            lambda: self.mos.acting(who).revoke(item_id, to=to, denial=denial, cube=path),
            lambda _: self.model.revoke(who, path, item_id, to, effect),
        )

    def step_set_visibility(self) -> None:
        path, item_id, who = self._target()
        shown = self.random.choice(("private", "private", "inherit", "tenant", "public"))
        self.attempt(
            f"{who.name} makes {item_id or path} {shown}",
            lambda: self.mos.acting(who).set_visibility(shown, item_id, cube=path),
            lambda _: self.model.set_visibility(who, path, item_id, shown),
        )

    def _quarantine(self, verb: str, flag: bool) -> None:
        cube = self.some_cube()
        who = self.who(cube)
        source = self.random.choice(("web:page", "session:s1"))
        expected: list[str] = []
        got = self.attempt(
            f"{who.name} {verb}s {source} in {cube.path}",
            lambda: getattr(self.mos.acting(who), verb)(source, cube=cube.path),
            lambda _: expected.extend(self.model.set_quarantine(who, cube.path, source, flag)),
        )
        assert got is None or got == expected

    def step_quarantine(self) -> None:
        self._quarantine("quarantine", True)

    def step_release(self) -> None:
        self._quarantine("release", False)

    def step_rollback(self) -> None:
        item, who = self._item_and_who()
        number = self.random.randint(1, item.now.number + (self.random.random() < 0.1))
        self.attempt(
            f"{who.name} rolls {item.id} back to version {number}",
            lambda: self.mos.acting(who).rollback(item.id, version=number),
            lambda _: self.model.rollback(who, item.id, number),
        )

    def step_rollback_cube(self) -> None:
        cube = self.some_cube()
        who = self.who(cube)
        step, seq, _ = self.random.choice(self.positions[-40:])
        expected: list[str] = []
        got = self.attempt(
            f"{who.name} rolls {cube.path} back to step {step}",
            lambda: self.mos.acting(who).rollback(to=seq, cube=cube.path),
            lambda _: expected.extend(self.model.rollback_cube(who, cube.path, step)),
        )
        assert got is None or got == expected, (got, expected)

    def step_fork(self) -> None:
        if self.forks >= 6:
            raise _Nothing
        cube = self.some_cube()
        who = self.who(cube)
        home = f"users/{who.user}" if who.user else f"agents/{who.agent}"
        self.forks += 1
        name = f"{home}/branch{self.forks}"
        step, seq, _ = self.random.choice(self.positions[-30:])
        past = self.random.random() < 0.4
        self.attempt(
            f"{who.name} forks {cube.path} as {name}" + (f" at {step}" if past else ""),
            lambda: self.mos.acting(who).fork(name, cube=cube.path, at=seq if past else None),
            lambda _: self.model.fork(
                who, cube.path, name, step if past else None, self._copies(who, name)
            ),
        )

    def _copies(self, who: Principal, name: str) -> dict[str, str]:
        """Source id -> copy id, as the file has them: the ids are the vault's to choose."""
        rows = self.raw.execute(
            "SELECT o.id, i.id FROM cube c JOIN item i ON i.cid = c.cid "
            "JOIN item o ON o.iid = i.fork_origin WHERE c.tenant = ? AND c.path = ?",
            (who.tenant, name),
        )
        return dict(rows.fetchall())

    def step_merge_branch(self) -> None:
        branches = [c for c in self.model.cubes.values() if c.fork_of is not None]
        if not branches:
            raise _Nothing
        branch = self.random.choice(branches)
        who = self.who(branch)
        how: OnConflict = self.random.choice(HOW)
        self.attempt(
            f"{who.name} merges branch {branch.path} ({how})",
            lambda: self.mos.acting(who).merge_branch(branch.path, on_conflict=how),
            lambda got: self.model.merge_branch(who, branch.path, how, got),
        )

    def step_erase(self) -> None:
        item, who = self._item_and_who()
        texts = [v.text for v in item.versions if v.text]
        expected: set[str] = set()
        got = self.attempt(
            f"{who.name} erases {item.id} {texts}",
            lambda: self.mos.acting(who).erase(item.id),
            lambda _: expected.update(self.model.erase(who, item.id)),
        )
        if got is not None:
            assert set(got.erased) == expected
            assert got.scan.found == 0

    def step_work(self) -> None:
        self.attempt("the worker works", self.mos.work, lambda _: self.model.work())

    def step_expire_due(self) -> None:
        self.attempt("expire_due", self.mos.expire_due, lambda _: self.model.expire_due())

    def step_wait(self) -> None:
        seconds = self.random.choice((5, 30))
        self.log.append(f"{self.model.step}: {seconds} s pass")
        self.clock.advance(seconds=seconds)
        self.model.now = to_micros(self.clock.now())

    def step_reopen(self) -> None:
        self.log.append(f"{self.model.step}: reopen")
        self.mos.close()
        self.mos = self._open()

    # comparison

    def compare(self) -> None:
        """Every principal reads a sample; the touched item is always in somebody's."""
        for who in EVERYONE:
            read = self.random.choice(READS)
            getattr(self, read)(who)
        if self.last is not None:
            self._compare_get(self.last, self.random.choice(EVERYONE), None)
            item = self.model.items.get(self.last)
            if item is not None:
                self._compare_history(self.last, self.who(item.cube))

    def same(self, what: str, vault: Callable[[], Any], model: Callable[[], Any]) -> None:
        got, refused = outcome(vault)
        expected, due = outcome(model)
        assert type(refused) is type(due), f"{what}: {refused!r}, not {due!r}"
        assert got == expected, f"{what}: {got}, not {expected}"

    def past(self) -> tuple[int, int]:
        step, seq, _ = self.random.choice(self.positions)
        return step, seq

    def read_list(self, who: Principal) -> None:
        path = self.some_cube().path
        session = self.random.choice((None, None, "s1"))
        mos = self.mos.acting(who)
        self.same(
            f"{who.name} of {who.tenant} lists {path} ({session})",
            lambda: [i.id for i in mos.list(cube=path, session=session, limit=1000)],
            lambda: self.model.listing(who, path, None, session),
        )
        self.same(
            f"{who.name} of {who.tenant} counts {path}",
            lambda: mos.count(cube=path),
            lambda: len(self.model.listing(who, path, None)),
        )

    def read_past_list(self, who: Principal) -> None:
        path, (step, seq) = self.some_cube().path, self.past()
        self.same(
            f"{who.name} of {who.tenant} lists {path} as of {step}",
            lambda: [i.id for i in self.mos.acting(who).as_of(seq).list(cube=path, limit=1000)],
            lambda: self.model.listing(who, path, step),
        )

    def word(self) -> str:
        """A word of one memory, present or past, or one that many share."""
        if self.words and self.random.random() < 0.6:
            return f"zq{self.random.randint(max(1, self.words - 60), self.words)}x"
        return self.random.choice(TOPICS)

    def read_search(self, who: Principal) -> None:
        path, word = self.some_cube().path, self.word()
        self.same(
            f"{who.name} of {who.tenant} searches {path} for {word}",
            lambda: self._searched(self.mos.acting(who), who, path, word, None),
            lambda: self.model.hits(who, path, word, None),
        )

    def read_past_search(self, who: Principal) -> None:
        path, word, (step, seq) = self.some_cube().path, self.word(), self.past()
        self.same(
            f"{who.name} of {who.tenant} searches {path} for {word} as of {step}",
            lambda: self._searched(self.mos.acting(who).as_of(seq), who, path, word, step),
            lambda: self.model.hits(who, path, word, step),
        )

    def read_timed_search(self, who: Principal) -> None:
        """As of a time of day: the world's time goes along with the log's."""
        path, word = self.some_cube().path, self.word()
        step, _, when = self.random.choice(self.positions)
        valid = to_micros(when)
        self.same(
            f"{who.name} of {who.tenant} searches {path} for {word} as of {when}",
            lambda: self._searched(self.mos.acting(who).as_of(when), who, path, word, step, valid),
            lambda: self.model.hits(who, path, word, step, valid),
        )

    def _searched(
        self,
        view: MemoryView,
        who: Principal,
        path: str,
        word: str,
        step: int | None,
        valid: int | None = None,
    ) -> set[str]:
        """The hits that hold the word. What stands beside them may be shown too, if it may."""
        hits = view.search(word, cube=path, limit=500)
        beside = {hit.id for hit in hits if word not in hit.text.split()}
        assert beside <= self.model.hits(who, path, None, step, valid), f"{beside} for {word}"
        return {hit.id for hit in hits} - beside

    def read_get(self, who: Principal) -> None:
        if self.model.items:
            past = self.random.random() < 0.3
            self._compare_get(self.some_item().id, who, self.past() if past else None)

    def _compare_get(self, item_id: str, who: Principal, past: tuple[int, int] | None) -> None:
        view = self.mos.acting(who) if past is None else self.mos.acting(who).as_of(past[1])

        def seen() -> dict[str, object]:
            item = view.get(item_id)
            names = ("version", "state", "stale", "owner", "conversation", "tags")
            more = ("merged_into", "legal_hold", "quarantined")
            return {"text": item.text} | {n: getattr(item.header, n) for n in (*names, *more)}

        self.same(
            f"{who.name} of {who.tenant} gets {item_id} as of {past}",
            seen,
            lambda: self.model.face(who, item_id, past[0] if past else None),
        )

    def read_history(self, who: Principal) -> None:
        if self.model.items:
            self._compare_history(self.some_item().id, who)

    def _compare_history(self, item_id: str, who: Principal) -> None:
        self.same(
            f"{who.name} of {who.tenant} reads the history of {item_id}",
            lambda: [
                (r.version, r.item.header.state, r.item.header.stale, r.item.text)
                for r in self.mos.acting(who).history(item_id)
            ],
            lambda: self.model.history(who, item_id),
        )

    def read_links(self, who: Principal) -> None:
        if not self.model.items:
            return
        item_id, past = self.some_item().id, None
        view: Any = self.mos.acting(who)
        if self.random.random() < 0.3:
            past, seq = self.past()
            view = view.as_of(seq)
        self.same(
            f"{who.name} of {who.tenant} reads the links of {item_id} as of {past}",
            lambda: {(x.source, x.relation.value, x.target) for x in view.links(item_id)},
            lambda: self.model.links(who, item_id, past),
        )


HOW: tuple[OnConflict, ...] = ("error", "ours", "theirs")


class _Nothing(Exception):
    """This step has nothing to work on yet."""


def outcome(call: Callable[[], Any]) -> tuple[Any, MemosError | None]:
    try:
        return call(), None
    except MemosError as error:
        return None, error


STEPS = {
    "step_add": 22,
    "step_update": 10,
    "step_delete": 4,
    "step_archive": 4,
    "step_activate": 5,
    "step_merge": 6,
    "step_split": 4,
    "step_freeze": 3,
    "step_thaw": 3,
    "step_link": 5,
    "step_unlink": 3,
    "step_share": 8,
    "step_deny": 4,
    "step_revoke": 5,
    "step_set_visibility": 4,
    "step_quarantine": 2,
    "step_release": 2,
    "step_rollback": 5,
    "step_rollback_cube": 2,
    "step_fork": 2,
    "step_merge_branch": 4,
    "step_erase": 2,
    "step_work": 6,
    "step_expire_due": 2,
    "step_wait": 3,
    "step_reopen": 1,
}
READS = (
    "read_list",
    "read_past_list",
    "read_search",
    "read_past_search",
    "read_timed_search",
    "read_get",
    "read_history",
    "read_links",
)


def walk(folder: Path, seed: int, steps: int) -> Machine:
    """Run a seed; a failure says how to get it again and what came last."""
    machine = Machine(folder / f"{seed}.db", seed)
    try:
        done = 0
        while done < steps:
            try:
                machine.take_step()
            except _Nothing:
                machine._remember()
                continue
            done += 1
            machine.compare()
            if done % 60 == 0:
                machine.prove()
        machine.prove()
    except Exception as error:
        tail = "\n  ".join(machine.log[-12:])
        raise AssertionError(
            f"seed {seed}, step {len(machine.log)}: {type(error).__name__}: {error}\n  {tail}"
        ) from error
    finally:
        machine.close()
    return machine


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 8))]
)
def test_vault_and_model_never_differ(seed: int, tmp_path: Path) -> None:
    machine = walk(tmp_path, seed, 270)
    accepted = len(machine.log) - machine.refusals
    assert accepted > 100, "most steps must be ones that change something"
    assert machine.refusals > 10, "some must be refused"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_vault_and_model_never_differ_over_long_lives(seed: int, tmp_path: Path) -> None:
    walk(tmp_path, seed, 600)
