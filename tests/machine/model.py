"""What Refkeep must do, in dicts and lists: no transactions, no store, no judge of the service's own.

Whoever asks learns what the service must answer; what it must look like after that is `picture`. Nothing here lets an
answer to one workspace depend on what another one holds: that is the proof that there is no oracle.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from service.application.changes import Command
from service.domain.arrangement import ReleaseAll, Reorder
from service.domain.decision import Attach, Expectation, Release
from service.domain.lifecycle import Purge, ReleaseRef, Restore, Revise

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LEASE, TRASH, QUARANTINE, UPLOAD, ANSWERS, TOMBSTONE = 7 * DAY, 30 * DAY, DAY, DAY, 7 * DAY, 90 * DAY
CLAIM = MINUTE
CAPACITY = {"cover": 1, "pages": 8}
USUAL_VISIBILITY = {"cover": "public", "pages": "private"}

Gist = tuple[Any, ...]
"""All of an answer but times and places in the log."""
Entity = tuple[str, str]
"""A workspace and the number of a book."""


class Refused(Exception):
    """The answer is a refusal with this code; `recorded` says where it goes on record."""

    def __init__(self, code: str, recorded: Entity | None = None) -> None:
        super().__init__(code)
        self.code, self.recorded = code, recorded


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A ref, live while `purge_after` is None."""

    entity: Entity
    role: str
    content: str
    visibility: str
    alt: str | None
    former: int | None = None
    purge_after: int | None = None


@dataclass
class Model:
    """Times are milliseconds; contents go by their hash, workspaces by their slug.

    `renditions` say of a blob and a definition which bytes were made and when; `defined` are the definitions of today.
    `loose` are blobs that nobody held at some time: their renditions go when somebody looks.
    """

    now: int
    limits: dict[str, int | None]
    defined: frozenset[str] = frozenset()
    holdings: dict[tuple[str, str], int] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)
    versions: dict[Entity, int] = field(default_factory=dict)
    live: dict[tuple[Entity, str], list[UUID]] = field(default_factory=dict)
    refs: dict[UUID, ModelRef] = field(default_factory=dict)
    purged: dict[UUID, tuple[str, int]] = field(default_factory=dict)
    holds: dict[str, str] = field(default_factory=dict)
    answers: dict[tuple[str, str], tuple[str, Gist, int]] = field(default_factory=dict)
    refusals: dict[tuple[Entity, str], int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    renditions: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    claims: dict[tuple[str, str], int] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)

    def copy(self) -> Model:
        """A model of its own."""
        mine = {name: copy(value) for name, value in self.__dict__.items()}
        return Model(**{**mine, "live": {role: [*ids] for role, ids in self.live.items()}})

    def picture(self) -> dict[str, Any]:
        """What the tables must say."""
        places = {ref_id: number for ids in self.live.values() for number, ref_id in enumerate(ids)}
        return {
            "holdings": dict(self.holdings),
            "versions": dict(self.versions),
            "refs": {ref_id: (ref, places.get(ref_id)) for ref_id, ref in self.refs.items()},
            "uses": {slug: sum(owner == slug for owner, _ in self.holdings) for slug in self.limits},
            "limits": dict(self.limits),
            "holds": dict(self.holds),
            "events": dict(self.events),
            "renditions": dict(self.renditions),
        }

    # --- holdings ---------------------------------------------------------------------------------------------------

    def upload(self, slug: str, content: str, key: str | None, *, put_fails: str | None = None) -> Gist:
        """Bytes arrive; where they are new to the workspace they are put into the store, or that fails."""
        held = (slug, content) in self.holdings
        if held and content in self.holds:
            return refused("on-hold")
        if not held and put_fails is not None:
            return refused(put_fails)
        return self.publish(slug, content, key)

    def publish(self, slug: str, content: str, key: str | None) -> Gist:
        """The bytes are in the store."""
        return self._once(slug, key, f"upload {content}", lambda: self._hold(slug, content))

    def grant(self, slug: str, content: str) -> Gist:
        """An operator's word, where there are such bytes."""
        if content not in self.blobs:
            return refused("not-found")
        return self._once(slug, None, "", lambda: self._hold(slug, content))

    def give_up(self, slug: str, content: str, key: str | None) -> Gist:
        """The end of a holding that nothing uses."""
        return self._once(slug, key, f"give up {content}", lambda: self._let_go(slug, content))

    def ask(self, slug: str, contents: list[str]) -> Gist:
        """Which must be sent; a question renews the leases of the others, but not for every hour."""
        missing = []
        for content in dict.fromkeys(contents):
            lease = self.holdings.get((slug, content))
            if lease is None:
                missing.append(content)
            elif content not in self.holds and self.now + LEASE - lease >= LEASE / 100:
                self._hold(slug, content)
        return tuple(missing)

    def _hold(self, slug: str, content: str) -> Gist:
        if content in self.holds:
            raise Refused("on-hold")
        lease = self.holdings.get((slug, content))
        limit = self.limits[slug]
        if lease is None and limit is not None and self._use(slug) >= limit:
            raise Refused("quota-exceeded")
        self.holdings[slug, content] = max(self.now + LEASE, lease or 0)
        self.blobs.add(content)
        self._told(slug)
        return ("insert" if lease is None else "duplicate", content)

    def _let_go(self, slug: str, content: str) -> Gist:
        if (slug, content) not in self.holdings:
            raise Refused("not-found")
        if any(ref.entity[0] == slug and ref.content == content for ref in self.refs.values()):
            raise Refused("blob-in-use")
        self._end_holding((slug, content))
        return ("released",)

    def _end_holding(self, holding: tuple[str, str]) -> None:
        del self.holdings[holding]
        self._told(holding[0])
        if not self._is_held(holding[1]):
            self.loose.add(holding[1])

    def _is_held(self, content: str) -> bool:
        return any(held == content for _, held in self.holdings)

    def _use(self, slug: str) -> int:
        return sum(owner == slug for owner, _ in self.holdings)

    # --- renditions -------------------------------------------------------------------------------------------------

    def render(self, slug: str, content: str, wanted: tuple[str, str], *, put_fails: str | None = None) -> Gist:
        """A rendition, by its definition and the name of its bytes, which are nobody's to hold."""
        definition, made = wanted
        if (slug, content) not in self.holdings:
            return refused("not-found")
        if content in self.holds:
            return refused("on-hold")
        if self.claims.get((content, definition), 0) > self.now:
            return refused("unavailable")
        if (content, definition) not in self.renditions:
            if put_fails is not None:
                return refused(put_fails)
            self.renditions[content, definition] = made, self.now
        return ("rendered", made)

    def leave_claim(self, content: str, definition: str) -> None:
        """Who was making it is dead; nobody else begins before a minute is over."""
        self.claims[content, definition] = self.now + CLAIM

    def shown(self) -> set[str]:
        """The bytes that some rendition shows."""
        return {made for made, _ in self.renditions.values()}

    def drop_stale(self) -> None:
        """What no preset would make any more ends."""
        self.renditions = {
            key: made
            for key, made in self.renditions.items()
            if key[1] in self.defined or self.now - made[1] < QUARANTINE
        }

    def drop_barren(self) -> None:
        """So does what is made of bytes that nobody holds, unless these are on hold."""
        kept = {content for _, content in self.holdings} | {*self.holds}
        self.renditions = {key: made for key, made in self.renditions.items() if key[0] in kept}
        self.loose &= {*self.holds}

    # --- holds and limits -------------------------------------------------------------------------------------------

    def place(self, content: str, kind: str) -> Gist:
        """An operator keeps bytes."""
        before = self.holds.get(content)
        if before == kind:
            return ("noop",)
        self.holds[content] = kind
        self._tell_holders(content)
        return ("insert" if before is None else "update",)

    def lift(self, content: str) -> Gist:
        """And lets go of them."""
        if content not in self.holds:
            return refused("not-found")
        del self.holds[content]
        self._tell_holders(content)
        return ("release",)

    def limit(self, slug: str, items: int | None) -> Gist:
        """A quota."""
        self.limits[slug] = items
        return ()

    def _tell_holders(self, content: str) -> None:
        for owner, held in self.holdings:
            if held == content:
                self._told(owner)

    # --- refs -------------------------------------------------------------------------------------------------------

    def change(self, slug: str, command: Command, key: str | None, request: str) -> Gist:
        """One change of refs."""
        return self._once(slug, key, request, lambda: self._carry_out(slug, command, {}, {*self.refs}))

    def batch(self, slug: str, commands: list[Command], key: str | None, request: str) -> Gist:
        """Several, all or none; of a refusal the index is told."""

        def all_of_them() -> Gist:
            began: dict[Entity, int] = {}
            known, before, answers = {*self.refs}, self.copy(), list[Gist]()
            for index, command in enumerate(commands):
                try:
                    answers.append(self._carry_out(slug, command, began, known))
                except Refused as refusal:
                    self.__dict__.update(before.__dict__)
                    raise Refused(f"{refusal.code} at {index}", refusal.recorded) from refusal
            return tuple(answers)

        return self._once(slug, key, request, all_of_them)

    def _carry_out(self, slug: str, command: Command, began: dict[Entity, int], known: set[UUID]) -> Gist:
        """`began` has the versions before the batch, `known` the refs that there were before it."""
        match command:
            case Attach() | Release() | Reorder() | ReleaseAll():
                entity = (slug, command.entity.id)
                began.setdefault(entity, self.versions.get(entity, 0))
                gist: Gist = getattr(self, f"_{type(command).__name__.lower()}")(entity, command, began)
            case _:
                ref = self._named(slug, command.ref_id, known)
                began.setdefault(ref.entity, self.versions.get(ref.entity, 0))
                gist = getattr(self, f"_{type(command).__name__.lower()}")(command.ref_id, ref, command, began)
        return gist

    def _named(self, slug: str, ref_id: UUID, known: set[UUID]) -> ModelRef:
        ref = self.refs.get(ref_id)
        if ref is not None and ref.entity[0] == slug and ref_id in known:
            return ref
        owner, time = self.purged.get(ref_id, ("", 0))
        raise Refused("gone" if owner == slug and self.now - time < TOMBSTONE else "not-found")

    def _attach(self, entity: Entity, command: Attach, began: dict[Entity, int]) -> Gist:
        self._expect(entity, command.expectation, began)
        role, content, place = command.role, command.sha256, command.position
        if role not in CAPACITY:
            raise Refused("policy-unknown", entity)
        if (entity[0], content) not in self.holdings:
            raise Refused("blob-not-held", entity)
        ids, capacity, single = self._ids(entity, role), CAPACITY[role], CAPACITY[role] == 1
        if place is not None and (place > len(ids) or (single and place > 0)):
            raise Refused("position-out-of-range", entity)
        occupant = None if place is None or command.shift or place >= len(ids) else ids[place]
        if occupant is None and len(ids) >= capacity:
            raise Refused("role-full", entity)
        same = occupant is not None and self.refs[occupant].content == content
        inserts, replaces = command.shift and place is not None, occupant is not None and not same
        if not single and command.expectation.versions is None and (inserts or replaces):
            raise Refused("precondition-required")
        if occupant is not None and same:
            return self._say(occupant, command.labels.alt, command.visibility)
        visibility = USUAL_VISIBILITY[role] if command.visibility is None else str(command.visibility)
        self.refs[command.ref_id] = ModelRef(entity, role, content, visibility, command.labels.alt)
        if occupant is None:
            ids.insert(len(ids) if place is None else place, command.ref_id)
        else:
            ids[ids.index(occupant)] = command.ref_id
            self._trash(occupant, place)
        version = self._grow(entity)
        return ("insert" if occupant is None else "replace", version, command.ref_id, occupant, None)

    def _say(self, ref_id: UUID, alt: str | None, visibility: object) -> Gist:
        ref = self.refs[ref_id]
        said = replace(ref, alt=ref.alt if alt is None else alt, visibility=str(visibility or ref.visibility))
        return self._revised(ref_id, said)

    def _revised(self, ref_id: UUID, said: ModelRef) -> Gist:
        if said == self.refs[ref_id]:
            return ("noop", self.versions[said.entity], ref_id, None, None)
        self.refs[ref_id] = said
        return ("update", self._grow(said.entity), ref_id, None, None)

    def _release(self, entity: Entity, command: Release, began: dict[Entity, int]) -> Gist:
        ids = self._ids(entity, command.role)
        if command.position >= len(ids):
            return ("noop", self.versions.get(entity, 0), None, None, None)
        self._expect(entity, command.expectation, began)
        if command.expectation.versions is None and CAPACITY.get(command.role) != 1:
            raise Refused("precondition-required")
        return self._end(ids[command.position])

    def _end(self, ref_id: UUID) -> Gist:
        ref = self.refs[ref_id]
        ids = self._ids(ref.entity, ref.role)
        place = ids.index(ref_id)
        ids.remove(ref_id)
        self._trash(ref_id, place)
        return ("release", self._grow(ref.entity), ref_id, None, None)

    def _reorder(self, entity: Entity, command: Reorder, began: dict[Entity, int]) -> Gist:
        self._expect(entity, command.expectation, began)
        if command.expectation.versions is None:
            raise Refused("precondition-required")
        ids = self._ids(entity, command.role)
        if sorted(ids) != sorted(command.ref_ids):
            raise Refused("not-a-permutation", entity)
        if ids == [*command.ref_ids]:
            return ("noop", self.versions.get(entity, 0), None, None, tuple(ids))
        ids[:] = command.ref_ids
        return ("reorder", self._grow(entity), None, None, tuple(ids))

    def _releaseall(self, entity: Entity, command: ReleaseAll, began: dict[Entity, int]) -> Gist:
        roles = sorted(CAPACITY) if command.role is None else [command.role]
        ids = [ref_id for role in roles for ref_id in self._ids(entity, role)]
        if not ids:
            return ("noop", self.versions.get(entity, 0), None, None, ())
        self._expect(entity, command.expectation, began)
        for ref_id in reversed(ids):
            self._end(ref_id)
        return ("release", self.versions[entity], None, None, tuple(ids))

    def _releaseref(self, ref_id: UUID, ref: ModelRef, command: ReleaseRef, began: dict[Entity, int]) -> Gist:
        if ref.purge_after is not None:
            return ("noop", self.versions[ref.entity], ref_id, None, None)
        self._expect(ref.entity, command.expectation, began)
        return self._end(ref_id)

    def _revise(self, ref_id: UUID, ref: ModelRef, command: Revise, began: dict[Entity, int]) -> Gist:
        self._expect(ref.entity, command.expectation, began)
        if ref.purge_after is not None:
            raise Refused("in-trash", ref.entity)
        alt = command.revision.alt
        return self._revised(ref_id, replace(ref, alt=alt if alt is None or isinstance(alt, str) else ref.alt))

    def _restore(self, ref_id: UUID, ref: ModelRef, command: Restore, began: dict[Entity, int]) -> Gist:
        if ref.purge_after is None:
            return ("noop", self.versions[ref.entity], ref_id, None, None)
        self._expect(ref.entity, command.expectation, began)
        ids, single = self._ids(ref.entity, ref.role), CAPACITY[ref.role] == 1
        if single and ids and not command.replaces:
            raise Refused("slot-taken", ref.entity)
        if not single and len(ids) >= CAPACITY[ref.role]:
            raise Refused("role-full", ref.entity)
        pushed_out = ids.pop() if single and ids else None
        if pushed_out is not None:
            self._trash(pushed_out, 0)
        ids.insert(min(ref.former or 0, len(ids)), ref_id)
        self.refs[ref_id] = replace(ref, former=None, purge_after=None)
        return ("restore", self._grow(ref.entity), ref_id, pushed_out, None)

    def _purge(self, ref_id: UUID, ref: ModelRef, command: Purge, began: dict[Entity, int]) -> Gist:
        self._expect(ref.entity, command.expectation, began)
        if ref.purge_after is None:
            raise Refused("not-trashed", ref.entity)
        return ("purge", self._forget(ref_id), ref_id, None, None)

    def _expect(self, entity: Entity, expectation: Expectation, began: dict[Entity, int]) -> None:
        version = self.versions.get(entity, 0)
        if expectation.versions is not None and not expectation.versions & {version, began[entity]}:
            raise Refused("version-conflict")

    def _ids(self, entity: Entity, role: str) -> list[UUID]:
        return self.live.setdefault((entity, role), [])

    def _trash(self, ref_id: UUID, place: int | None) -> None:
        self.refs[ref_id] = replace(self.refs[ref_id], former=place, purge_after=self.now + TRASH)

    def _forget(self, ref_id: UUID) -> int:
        ref = self.refs.pop(ref_id)
        self.purged[ref_id] = ref.entity[0], self.now
        return self._grow(ref.entity)

    def _grow(self, entity: Entity) -> int:
        self.versions[entity] = self.versions.get(entity, 0) + 1
        self._told(entity[0])
        return self.versions[entity]

    def _told(self, slug: str) -> None:
        self.events[slug] = self.events.get(slug, 0) + 1

    # --- answers that are kept --------------------------------------------------------------------------------------

    def _once(self, slug: str, key: str | None, request: str, effect: Any) -> Gist:
        """The same request with the same key has one effect and one answer; what is refused is judged anew."""
        if key is not None and (slug, key) in self.answers:
            known, answer, _ = self.answers[slug, key]
            return ("replay", answer) if known == request else refused("idempotency-key-reuse")
        try:
            gist: Gist = effect()
        except Refused as refusal:
            if refusal.recorded is not None:
                self._record(refusal.recorded, refusal.code.partition(" ")[0])
            return refused(refusal.code)
        if key is not None:
            self.answers[slug, key] = request, gist, self.now
        return gist

    def _record(self, entity: Entity, code: str) -> None:
        """Equal refusals within a minute are one event."""
        last = self.refusals.get((entity, code))
        if last is None or self.now - last >= MINUTE:
            self.refusals[entity, code] = self.now
            self._told(entity[0])

    # --- what time does ---------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Old answers go."""
        self.answers = {key: kept for key, kept in self.answers.items() if self.now - kept[2] < ANSWERS}

    def purge_due(self) -> None:
        """Trash ends."""
        for ref_id in self.due_refs():
            self._forget(ref_id)

    def release_due(self) -> None:
        """What nothing uses ends with its lease, and so do bytes that nobody holds."""
        for holding in self.due_holdings():
            self._end_holding(holding)
        held = {content for _, content in self.holdings} | {*self.holds}
        self.blobs &= held

    def due_refs(self) -> list[UUID]:
        """Whose time in the trash is over."""
        return [
            ref_id for ref_id, ref in self.refs.items() if ref.purge_after is not None and ref.purge_after <= self.now
        ]

    def due_holdings(self) -> list[tuple[str, str]]:
        """Without a ref, past the lease, not on hold."""
        used = {(ref.entity[0], ref.content) for ref in self.refs.values()}
        return [
            holding
            for holding, lease in self.holdings.items()
            if lease <= self.now and holding not in used and holding[1] not in self.holds
        ]

    def end_some(
        self, refs_left: set[UUID], holdings_left: set[tuple[str, str]], renditions_left: set[tuple[str, str]]
    ) -> None:
        """A round that did not come to its end: of what was due, what is no longer there has ended."""
        for ref_id in self.due_refs():
            if ref_id not in refs_left:
                self._forget(ref_id)
        for holding in self.due_holdings():
            if holding not in holdings_left:
                self._end_holding(holding)
        before = self.renditions
        self.drop_stale()
        may_stay = self.renditions
        self.renditions = {
            key: made
            for key, made in before.items()
            if key in renditions_left or (key in may_stay and key[0] not in self.loose)
        }


def refused(code: str) -> Gist:
    """The gist of a refusal; that of an operation of a batch says which."""
    return ("refused", code)
