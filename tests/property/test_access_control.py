"""The rights decided inside SQL are the rights ``cube.acl.permissions`` states, and no arm leaks.

Worlds are small tenants full of look-alike names (``acme``, ``acme-corp``, ``acme/kb``; ``%``,
``_``, ``*``, quotes). Rules go in through the transaction, because that can also write the odd
ones the verbs never would; items and cubes go in through the verbs.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

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
from memos_integrations.cube.errors import AccessDenied, NotFound
from memos_integrations.cube.ids import CubePath, to_micros
from memos_integrations.infrastructure.vault.governed import Governed
from memos_integrations.infrastructure.vault.packing import see_words
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.settings import Settings
from memos_integrations.testing.fakes import FakeEmbedder, ManualClock

TENANTS = ("acme", "globex")
NAMES = ("acme", "acme-corp", "a%", "a_", "*", "o'brien", "user:acme", "ops", "Acme", "admin")
PATHS = (
    "acme",
    "acme-corp",
    "acme/kb",
    "acme/kb/deep",
    "acme/k%",
    "acm_",
    "a*",
    "o'brien/notes",
    "Acme",
    "acme/kb-old",
    "%",
)
LABELS = ("medical", "legal", "a%", "med")
NEEDS = (Permission.READ, Permission.WRITE, Permission.SHARE, Permission.ADMIN)
SECRET_WORD = "tourmaline"


@dataclass(frozen=True)
class KnownCube:
    row: CubeRow
    visibility: Visibility


@dataclass(frozen=True)
class KnownItem:
    id: str
    iid: int
    cube: KnownCube
    owner: str
    visibility: Visibility
    labels: tuple[str, ...]
    text: str


class World:
    """One vault with random cubes, items and rules, and all that is known about them."""

    def __init__(self, path: Path, seed: int, *, embedder: object | None = None) -> None:
        self.random = random.Random(seed)
        self.clock = ManualClock()
        self.mos = MOS(
            path,
            embedder=embedder,
            clock=self.clock,
            settings=Settings(synchronous="normal", worker=False),
        )
        self.vault = self.mos._rooms.vault
        self.cubes: list[KnownCube] = []
        self.items: list[KnownItem] = []
        self.grants: list[Grant] = []
        for _ in range(6):
            self._add_cube()
        for number in range(14):
            self._add_item(number)
        for _ in range(self.random.randint(2, 14)):
            self._add_rule()
        self.clock.advance(seconds=100)  # some of the rules have run out by now

    @property
    def now(self) -> int:
        return to_micros(self.clock.now())

    def principal(self) -> Principal:
        pick = self.random
        user, agent = pick.choice((None, *NAMES)), pick.choice((None, None, *NAMES))
        return Principal(
            pick.choice((*TENANTS, "acme")),
            user=user if user or agent else "acme",
            agent=agent,
            roles=self._some(("ops", "a%", "auditor", "acme", "admin", "Admin"), 0.12),
            groups=self._some(("ops", "acme", "a_", "*"), 0.25),
            clearances=self._some(LABELS, 0.3),
        )

    def _some(self, names: tuple[str, ...], share: float) -> frozenset[str]:
        return frozenset(name for name in names if self.random.random() < share)

    def _add_cube(self) -> None:
        tenant = self.random.choice(TENANTS)
        taken = {each.row.path for each in self.cubes if each.row.tenant == tenant}
        path = self.random.choice([each for each in PATHS if each not in taken])
        owner = f"{self.random.choice(('user', 'user', 'agent'))}:{self.random.choice(NAMES)}"
        shown = self.random.choice(
            (Visibility.PRIVATE,) * 3 + (Visibility.TENANT, Visibility.PUBLIC)
        )

        def work(tx: Transaction) -> CubeRow:
            return tx.new_cube(CubePath(path), owner=owner, visibility=shown)

        who = Principal(tenant, user="founder")
        self.cubes.append(KnownCube(self.vault.write(who, work, action="test"), shown))

    def _add_item(self, number: int) -> None:
        cube = self.random.choice(self.cubes)
        who = self.principal()
        writer = Principal(
            cube.row.tenant, user=who.user, agent=who.agent, roles=frozenset({"admin"})
        )
        shown = self.random.choice((Visibility.INHERIT, *Visibility))
        labels = tuple(sorted(self._some(LABELS, 0.2)))
        text = f"{SECRET_WORD} fact number{number}"
        memory = self.mos.acting(writer).add(
            text, cube=cube.row.path, visibility=shown, labels=labels
        )
        number_of = self.vault.write(
            writer, lambda tx: tx.numbers([memory.id])[memory.id][0], action="test"
        )
        self.items.append(KnownItem(memory.id, number_of, cube, writer.name, shown, labels, text))

    def _add_rule(self) -> None:
        item = self.random.choice(self.items) if self.random.random() < 0.4 else None
        cube = item.cube if item else self.random.choice(self.cubes)
        scope = cube.row.path if item or self.random.random() < 0.7 else self.random.choice(PATHS)
        tenant = cube.row.tenant if self.random.random() < 0.9 else self.random.choice(TENANTS)
        after = self.random.choice((None, None, 50, 100, 150))
        rule = Grant(
            tenant,
            scope,
            self.random.choice(list(SubjectKind)),
            self.random.choice(NAMES),
            Permission(self.random.randint(1, 15)),
            Effect.DENY if self.random.random() < 0.3 else Effect.ALLOW,
            item.id if item else None,
            None if after is None else self.now + after * 1_000_000,
        )
        iid = item.iid if item else None
        who = Principal(tenant, user="founder")
        self.vault.write(who, lambda tx: tx.grant(rule, cid=cube.row.cid, iid=iid), action="test")
        self.grants = [each for each in self.grants if _key(each) != _key(rule)] + [rule]

    def on_cube(self, who: Principal, cube: KnownCube) -> Permission:
        return permissions(
            who,
            tenant=cube.row.tenant,
            path=cube.row.path,
            cube_owner=cube.row.owner,
            cube_visibility=cube.visibility,
            grants=self.grants,
            now=self.now,
        )

    def on_item(self, who: Principal, item: KnownItem) -> Permission:
        return permissions(
            who,
            tenant=item.cube.row.tenant,
            path=item.cube.row.path,
            cube_owner=item.cube.row.owner,
            cube_visibility=item.cube.visibility,
            grants=self.grants,
            now=self.now,
            item=item.id,
            item_owner=item.owner,
            item_visibility=item.visibility,
            item_labels=item.labels,
        )

    def readable(self, who: Principal, cube: KnownCube | None = None) -> set[str]:
        return {
            item.id
            for item in self.items
            if (cube is None or item.cube is cube) and self.on_item(who, item) & Permission.READ
        }


def _key(rule: Grant) -> tuple[object, ...]:
    return (rule.tenant, rule.scope, rule.item, rule.subject_kind, rule.subject, rule.effect)


@contextmanager
def world(path: Path, seed: int, *, embedder: object | None = None) -> Iterator[World]:
    made = World(path, seed, embedder=embedder)
    try:
        yield made
    finally:
        made.mos.close()


def compare_rights(made: World, principals: int) -> tuple[int, int]:
    """Every cube and item, for each right: (cases, cases that were allowed)."""
    cases = allowed = 0
    cids = [cube.row.cid for cube in made.cubes]
    for _ in range(principals):
        who = made.principal()
        for need in NEEDS:
            with made.vault.reading(who, need=need) as reading:
                gates = {gate.cid: gate.open for gate in reading.governed.gates(cids)}
                one_by_one = reading.governed.items([i.iid for i in made.items], cids=cids)
                listed = reading.governed.listing(cids=cids, pick="present")
            for cube in made.cubes:
                right = bool(made.on_cube(who, cube) & need)
                assert gates[cube.row.cid] is right, (who, need, cube, made.grants)
            expected = {i.id for i in made.items if made.on_item(who, i) & need}
            assert {row.id for row in one_by_one} == expected, (who, need, made.grants)
            assert {row.id for row in listed} == expected, (who, need, made.grants)
            cases += len(made.cubes) + len(made.items)
            allowed += len(expected)
    return cases, allowed


@pytest.mark.parametrize(
    "block", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 4))]
)
def test_rights_in_sql_are_the_rights_of_the_readable_oracle(block: int, tmp_path: Path) -> None:
    cases = allowed = 0
    for seed in range(block * 10, block * 10 + 10):
        with world(tmp_path / f"{seed}.db", seed) as made:
            more = compare_rights(made, 8)
        cases, allowed = cases + more[0], allowed + more[1]
    assert cases >= 6_000
    assert 0.05 < allowed / cases < 0.6, "neither all open nor all shut"


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_rights_in_sql_are_the_oracles_in_many_worlds(block: int, tmp_path: Path) -> None:
    for seed in range(1000 + block * 20, 1020 + block * 20):
        with world(tmp_path / f"{seed}.db", seed) as made:
            compare_rights(made, 25)


def test_who_is_named_by_no_rule_may_see_the_same_by_the_short_decision(tmp_path: Path) -> None:
    short = shown = 0
    for seed in range(5):
        path = tmp_path / f"{seed}.db"
        with world(path, seed) as made, closing(sqlite3.connect(path)) as plain:
            see_words(plain)
            cids, iids = [c.row.cid for c in made.cubes], [i.iid for i in made.items]
            for who, need in product([made.principal() for _ in range(12)], NEEDS):
                with made.vault.reading(who, need=need) as reading:
                    if reading.governed.named_by_rules():
                        continue
                    long = Governed(plain, reading.asking)  # what may write asks in full
                    assert (reading.governed._unruled, long._unruled) == (True, False)
                    assert reading.governed.gates(cids) == long.gates(cids)
                    found = reading.governed.items(iids, cids=cids)
                    assert found == long.items(iids, cids=cids)
                    assert reading.governed.count(cids=cids) == long.count(cids=cids)
                    assert reading.governed.searchable(iids, cids=cids) == {r.iid for r in found}
                short, shown = short + 1, shown + len(found)
    assert short > 20
    assert 0 < shown < short * 14


def attempted(call: Callable[[], set[str]]) -> set[str]:
    """The ids an arm shows; a refusal shows none."""
    try:
        return call()
    except (AccessDenied, NotFound):
        return set()


def ids_in(*found: object) -> set[str]:
    return {str(getattr(each, "id", each)) for each in found}


def arms(
    made: World, who: Principal, cube: KnownCube, seq: int
) -> dict[str, Callable[[], set[str]]]:
    """Every way to be shown more than one memory of a cube."""
    mos, path = made.mos.acting(who), cube.row.path
    past = mos.as_of(seq)
    return {
        "list": lambda: ids_in(*mos.list(cube=path)),
        "search": lambda: ids_in(*mos.search(SECRET_WORD, cube=path, limit=100)),
        "search by another word": lambda: ids_in(*mos.search("fact", cube=path, limit=100)),
        "filtered search": lambda: ids_in(
            *mos.search(SECRET_WORD, cube=path, limit=100, filter={"trust": "user"})
        ),
        "context": lambda: ids_in(
            *mos.context(SECRET_WORD, cube=path, limit=100, budget_tokens=10_000).hits
        ),
        "list as of": lambda: ids_in(*past.list(cube=path)),
        "search as of": lambda: ids_in(*past.search(SECRET_WORD, cube=path, limit=100)),
    }


def few_or_many(few: int, many: int) -> pytest.MarkDecorator:
    """How many worlds a test tries: few in the fast run, many in CI."""
    return pytest.mark.parametrize("worlds", [few, pytest.param(many, marks=pytest.mark.slow)])


@few_or_many(2, 5)
@pytest.mark.parametrize("embedder", [None, FakeEmbedder()], ids=["words", "vectors"])
def test_no_arm_shows_what_may_not_be_read_nor_hides_what_may(
    embedder: object | None, worlds: int, tmp_path: Path
) -> None:
    shown = hidden = 0
    for seed in range(500, 500 + worlds):
        with world(tmp_path / f"{seed}.db", seed, embedder=embedder) as made:
            made.mos.work()
            with made.vault.reading(Principal(user="anyone")) as reading:
                seq = reading.seq_at(made.now)
            for _ in range(6):
                who = made.principal()
                for cube in made.cubes:
                    if cube.row.tenant != who.tenant:
                        continue
                    expected = made.readable(who, cube)
                    for arm, ask in arms(made, who, cube, seq).items():
                        assert attempted(ask) == expected, (seed, arm, who, cube)
                    shown += len(expected)
                    hidden += sum(i.cube is cube for i in made.items) - len(expected)
    assert shown > 10 * worlds
    assert hidden > 10 * worlds


@few_or_many(2, 6)
def test_numbers_count_only_what_may_be_read(worlds: int, tmp_path: Path) -> None:
    for seed in range(520, 520 + worlds):
        with world(tmp_path / f"{seed}.db", seed) as made:
            for _ in range(8):
                who = made.principal()
                mos = made.mos.acting(who)
                for cube in made.cubes:
                    if cube.row.tenant != who.tenant:
                        continue
                    count = len(made.readable(who, cube))
                    if not (count or made.on_cube(who, cube) & Permission.READ):
                        with pytest.raises(AccessDenied):
                            mos.count(cube=cube.row.path)
                        with pytest.raises(AccessDenied):
                            mos.stats(cube=cube.row.path)
                        continue
                    stats = mos.stats(cube=cube.row.path)
                    assert mos.count(cube=cube.row.path) == stats["memories"] == count
                    for column in ("state", "memory_type", "trust", "stale"):
                        assert sum(stats[column].values()) == count


def about_one(mos: MOS, item: str) -> list[Callable[[], object]]:
    """Every way to ask about one memory."""
    return [
        lambda: mos.get(item),
        lambda: mos.get(item, version=1),
        lambda: mos.history(item),
        lambda: mos.provenance(item),
        lambda: mos.links(item),
        lambda: mos.explain(SECRET_WORD, item),
        lambda: mos.as_of(2**62).get(item),
    ]


@few_or_many(2, 6)
def test_verbs_on_one_memory_tell_the_unauthorised_it_is_not_there(
    worlds: int, tmp_path: Path
) -> None:
    told = 0
    for seed in range(540, 540 + worlds):
        with world(tmp_path / f"{seed}.db", seed) as made:
            for _ in range(6):
                who = made.principal()
                mos = made.mos.acting(who)
                for item in made.items:
                    if made.on_item(who, item) & Permission.READ:
                        assert mos.get(item.id).text == item.text
                        continue
                    told += 1
                    for ask in about_one(mos, item.id):
                        with pytest.raises((NotFound, AccessDenied)) as refused:
                            ask()
                        assert item.text not in str(refused.value)
                        assert item.cube.row.path not in str(refused.value).split()
    assert told > 15 * worlds


@few_or_many(2, 6)
def test_links_and_provenance_stop_at_what_may_not_be_read(worlds: int, tmp_path: Path) -> None:
    for seed in range(560, 560 + worlds):
        with world(tmp_path / f"{seed}.db", seed) as made:
            pairs = _link_within_tenants(made)
            for _ in range(10):
                who = made.principal()
                mos, seen = made.mos.acting(who), made.readable(who)
                for source, target in pairs:
                    if source not in seen:
                        continue
                    ends = {end for link in mos.links(source) for end in (link.source, link.target)}
                    known = mos.provenance(source)
                    assert ends <= seen
                    assert (target in ends) is (target in seen)
                    assert ids_in(*known.sources, *known.derived) <= seen
                    assert (target in ids_in(*known.sources)) is (target in seen)


def _link_within_tenants(made: World) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for one, two in zip(made.items, made.items[1:], strict=False):
        if one.cube.row.tenant != two.cube.row.tenant:
            continue
        root = made.mos.acting(
            Principal(
                one.cube.row.tenant,
                user="root",
                roles=frozenset({"admin"}),
                clearances=frozenset(LABELS),
            )
        )
        try:
            root.link(one.id, "derived_from", two.id)
        except (AccessDenied, NotFound):
            continue  # a rule denies even the admin
        pairs.append((one.id, two.id))
    return pairs


def test_fork_and_diff_hold_only_what_may_be_read(tmp_path: Path) -> None:
    forked = 0
    for seed in range(580, 586):
        with world(tmp_path / f"{seed}.db", seed) as made:
            texts = {item.id: item.text for item in made.items}
            for number in range(6):
                who = Principal(
                    made.random.choice(TENANTS),
                    user=f"reader{number}",
                    groups=frozenset({"ops", "acme"}),
                )
                mos = made.mos.acting(who)
                for place, cube in enumerate(made.cubes):
                    if cube.row.tenant != who.tenant:
                        continue
                    name = f"users/{who.user}/{place}"
                    if not made.on_cube(who, cube) & Permission.READ:
                        with pytest.raises(AccessDenied):
                            mos.fork(name, cube=cube.row.path)
                        continue
                    seen = made.readable(who, cube)
                    mos.fork(name, cube=cube.row.path)
                    copies = [item.text for item in mos.list(cube=name)]
                    assert sorted(copies) == sorted(texts[each] for each in seen)
                    assert not mos.diff(name)
                    forked += 1
    assert forked > 10


def test_memory_shared_one_by_one_is_all_that_a_closed_cube_shows(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=Settings(worker=False)) as mos:
        mine = mos.add(["tourmaline one", "tourmaline two"], user="alice")
        mos.share(mine.ids[0], to="bob", user="alice")
        bob = mos.acting(Principal(user="bob"))
        assert [hit.id for hit in bob.search("tourmaline", cube="users/alice")] == [mine.ids[0]]
        assert bob.count(cube="users/alice") == 1
        assert [c.path for c in bob.cubes()] == []
        mos.revoke(mine.ids[0], to="bob", user="alice")
        with pytest.raises(AccessDenied):
            bob.search("tourmaline", cube="users/alice")


@pytest.mark.parametrize(
    ("scope", "reached"),
    [
        ("teams/acme", {"teams/acme", "teams/acme/kb"}),
        ("teams/acme/kb", {"teams/acme/kb"}),
        ("teams/acm_", {"teams/acm_"}),
        ("teams/%", {"teams/%"}),
        ("teams/*", {"teams/*"}),
        ("teams/o'brien", {"teams/o'brien"}),
    ],
)
def test_grant_reaches_whole_segments_and_no_wildcard(
    scope: str, reached: set[str], tmp_path: Path
) -> None:
    paths = ("teams/acme", "teams/acme-corp", "teams/acme/kb", "teams/acm_", "teams/%", "teams/*")
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "a.db", embedder=None, settings=settings) as mos:
        for path in (*paths, "teams/o'brien", "teams/Acme"):
            mos.create_cube(path, user="alice")
        mos.share(to="bob", user="alice", cube=scope)
        assert {cube.path for cube in mos.cubes(user="bob")} == reached


def test_rule_on_a_path_is_not_about_another_tenants_cube_of_that_name(tmp_path: Path) -> None:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "a.db", embedder=None, settings=settings) as mos:
        ours = mos.acting(Principal("acme", user="alice"))
        theirs = mos.acting(Principal("globex", user="eve"))
        ours.create_cube("teams/notes", visibility="public")
        theirs.create_cube("teams/notes")
        item = ours.add("tourmaline", cube="teams/notes").id
        theirs.share(to="bob", permission="admin", cube="teams/notes")
        theirs.deny(to="dave", cube="teams/notes")
        for user in ("bob", "dave"):
            reader = mos.acting(Principal("globex", user=user))
            assert reader.get(item).text == "tourmaline"
            with pytest.raises(AccessDenied):
                reader.delete(item)


def test_dump_holds_only_what_may_be_read(tmp_path: Path) -> None:
    dumped = 0
    for seed in range(600, 604):
        with world(tmp_path / f"{seed}.db", seed) as made:
            for number in range(3):
                who = Principal(
                    made.random.choice(TENANTS),
                    user=f"reader{number}",
                    groups=frozenset({"ops", "acme"}),
                    clearances=made._some(LABELS, 0.4),
                )
                mos = made.mos.acting(who)
                for place, cube in enumerate(made.cubes):
                    if cube.row.tenant != who.tenant:
                        continue
                    archive = tmp_path / f"{seed}-{number}-{place}.memcube"
                    if not made.on_cube(who, cube) & Permission.READ:
                        with pytest.raises(AccessDenied):
                            mos.dump(archive, cube=cube.row.path)
                        assert not archive.exists()
                        continue
                    seen = made.readable(who, cube)
                    report = mos.dump(archive, cube=cube.row.path)
                    assert report.items == len(seen)
                    copy = f"users/{who.user}/{place}"
                    mos.load(archive, cube=copy)
                    texts = {item.id: item.text for item in made.items}
                    found = sorted(item.text for item in mos.list(cube=copy))
                    assert found == sorted(texts[each] for each in seen)
                    dumped += 1
    assert dumped > 5
