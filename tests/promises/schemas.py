"""Two JSON Schemas compared: what a caller may write, or what it must read, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.promises.changes import Change, Json, Side, added, removed
from tests.promises.choices import LIMITS, alternatives, label, whole

_FORMS = ("pattern", "format", "multipleOf", "uniqueItems", "contentEncoding", "contentMediaType")
_CONDITIONS = ("not", "if", "then", "else", "contains", "prefixItems", "propertyNames", "patternProperties")
_DEPTH = 30
_STRANGE = 1000
_PROBLEM = "urn:refkeep:problem:"


@dataclass(frozen=True, slots=True)
class Schemas:
    """The documents that the references of both schemas point into, and who writes what they describe."""

    old: Json
    new: Json
    side: Side

    def compare(self, old: Json, new: Json, where: str, depth: int = 0) -> Iterator[Change]:
        """Every difference that a caller could notice."""
        if depth > _DEPTH or whole(self.old, old) == whole(self.new, new):
            return
        before, after = alternatives(self.old, old), alternatives(self.new, new)
        for one, other in self._pairs(before, after):
            yield from self._choice(one, other, where, depth)
        yield from (self._alone("removed", one, where) for one in before)
        yield from (self._alone("added", other, where) for other in after)

    def _pairs(self, before: list[Json], after: list[Json]) -> Iterator[tuple[dict[str, Json], dict[str, Json]]]:
        """Alternatives that stand for each other, taken out of both lists: the likest first."""
        single = len(before) == len(after) == 1
        ranked = sorted(
            (self._distance(one, other), i, j) for i, one in enumerate(before) for j, other in enumerate(after)
        )
        one_left, other_left = dict(enumerate(before)), dict(enumerate(after))
        for far, i, j in ranked:
            if (single or far < _STRANGE) and i in one_left and j in other_left:
                yield one_left.pop(i), other_left.pop(j)
        before[:], after[:] = one_left.values(), other_left.values()

    def _distance(self, one: dict[str, Json], other: dict[str, Json]) -> int:
        """How likely one came of the other: 0 for the same, `_STRANGE` for another thing."""
        if whole(self.old, one) == whole(self.new, other):
            return 0
        if one.get("type") != other.get("type") or label(one)[1:] != label(other)[1:]:
            return _STRANGE
        names = set(one.get("properties", {})) ^ set(other.get("properties", {}))
        return 1 + min(len(names) + len(one.keys() ^ other.keys()), _STRANGE - 2)

    def _alone(self, fate: str, choice: dict[str, Json], where: str) -> Change:
        kind = "problem" if _is_problem(choice) else "choice"
        told = " ".join(str(part) for part in label(choice)[1:]) or str(choice.get("type", "anything"))
        return Change(f"{kind}-{fate}", self.side, where, told)

    def _choice(self, old: dict[str, Json], new: dict[str, Json], where: str, depth: int) -> Iterator[Change]:
        yield from self._types(old.get("type"), new.get("type"), where)
        yield from self._values(old.get("enum"), new.get("enum"), where)
        yield from self._limits(old, new, where)
        yield from self._forms(old, new, where)
        yield from self._default(old, new, where)
        yield from self._members(old, new, where, depth)
        yield from self._others(
            old.get("additionalProperties", True), new.get("additionalProperties", True), where, depth
        )
        if "items" in old or "items" in new:
            yield from self.compare(old.get("items", True), new.get("items", True), f"{where}[]", depth + 1)

    def _types(self, old: Json, new: Json, where: str) -> Iterator[Change]:
        if old == new:
            return
        narrower = old is None or (old, new) == ("number", "integer")
        wider = new is None or (old, new) == ("integer", "number")
        rule = "type-narrowed" if narrower else "type-widened" if wider else "type-changed"
        yield Change(rule, self.side, where, f"{old or 'anything'} became {new or 'anything'}")

    def _values(self, old: Json, new: Json, where: str) -> Iterator[Change]:
        if old is None or new is None:
            if old is not new:
                rule = "values-fixed" if old is None else "values-freed"
                yield Change(rule, self.side, where, f"{old or 'anything'} became {new or 'anything'}")
            return
        yield from (Change("value-removed", self.side, where, repr(each)) for each in old if each not in new)
        yield from (Change("value-added", self.side, where, repr(each)) for each in new if each not in old)

    def _limits(self, old: Json, new: Json, where: str) -> Iterator[Change]:
        for name, tighter in LIMITS.items():
            one, other = old.get(name), new.get(name)
            if one != other:
                narrows = one is None or (other is not None and tighter(one, other) == other)
                rule = "limit-tightened" if narrows else "limit-loosened"
                yield Change(rule, self.side, where, f"{name} {one} became {other}")

    def _forms(self, old: Json, new: Json, where: str) -> Iterator[Change]:
        for name in _FORMS:
            one, other = old.get(name), new.get(name)
            if one != other:
                rule = "form-demanded" if one is None else "form-freed" if other is None else "form-changed"
                yield Change(rule, self.side, where, f"{name} {one} became {other}")
        for name in _CONDITIONS:
            if old.get(name) != new.get(name):
                yield Change("condition-changed", self.side, where, name)

    def _default(self, old: Json, new: Json, where: str) -> Iterator[Change]:
        if old.get("default") == new.get("default") and ("default" in old) == ("default" in new):
            return
        rule = "default-changed" if "default" in old else "default-named"
        yield Change(rule, self.side, where, f"{old.get('default')} became {new.get('default')}")

    def _members(self, old: Json, new: Json, where: str, depth: int) -> Iterator[Change]:
        before, after = old.get("properties", {}), new.get("properties", {})
        yield from removed("member", self.side, before, after, where)
        yield from added("member", self.side, before, after, where)
        musts, now = set(old.get("required", ())), set(new.get("required", ()))
        yield from (Change("member-demanded", self.side, f"{where} {each}", "is required now") for each in now - musts)
        for each in (musts - now) & after.keys():
            yield Change("member-optional", self.side, f"{where} {each}", "may be absent now")
        for each in before.keys() & after.keys():
            yield from self.compare(before[each], after[each], f"{where} {each}", depth + 1)

    def _others(self, old: Json, new: Json, where: str, depth: int) -> Iterator[Change]:
        """Members without a name of their own."""
        if old is False or new is False:
            if old is not new:
                yield Change("closed" if new is False else "opened", self.side, where, "members that are not named")
            return
        yield from self.compare(old, new, f"{where} *", depth + 1)


def _is_problem(choice: dict[str, Json]) -> bool:
    return any(text.startswith(_PROBLEM) for _, text in label(choice)[1:])
