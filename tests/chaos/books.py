"""What one client was told: the refs of the entities that nobody else writes, as every answer left them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass
class Kept:
    """An acknowledged ref: the bytes it shows and, in the trash, the time of its end in seconds of the epoch."""

    ref_id: str
    sha256: str
    purge_after: float | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> Kept:
        """From the document of a ref."""
        end = document["purge_after"]
        ends_at = None if end is None else datetime.fromisoformat(end).timestamp()
        return cls(document["ref_id"], document["blob"]["sha256"], ends_at)

    def must_be_there(self) -> bool:
        """Whether nothing may have ended it yet."""
        return self.purge_after is None or time.time() < self.purge_after


@dataclass
class Shelf:
    """One role of one entity. `headers` are those of whoever writes it; `live` is in order."""

    workspace: str
    headers: dict[str, str]
    entity: str
    role: str
    is_single: bool
    live: list[Kept] = field(default_factory=list)
    trash: dict[str, Kept] = field(default_factory=dict)
    version: int = 0

    @property
    def path(self) -> str:
        return f"/refs/{self.entity}/{self.role}"

    @property
    def if_match(self) -> dict[str, str]:
        """The headers, with the version that was seen last."""
        return {**self.headers, "if-match": f'"{self.version}"'}

    def everything(self) -> Iterator[Kept]:
        """What is live, then what is in the trash."""
        yield from self.live
        yield from self.trash.values()

    def needs(self, sha256: str) -> bool:
        """Whether an acknowledged ref keeps these bytes alive."""
        return any(kept.sha256 == sha256 and kept.must_be_there() for kept in self.everything())

    def apply(self, result: dict[str, Any]) -> list[str]:
        """Enter the outcome of a change. What is wrong with it, in sentences."""
        flaws = self._flaws_of_version(result["entity"]["version"], result["decision"])
        if "replaced" in result:
            self._trash(result["replaced"])
        match result["decision"]:
            case "insert" | "replace":
                self._fill(result["ref"])
            case "release":
                for ref in result.get("refs") or [result["ref"]]:
                    self._trash(ref)
            case "restore":
                self.trash.pop(result["ref"]["ref_id"])
                self._fill(result["ref"])
            case "reorder":
                self.live = [Kept.of(ref) for ref in result["refs"]]
            case "purge":
                self.trash.pop(result["ref"]["ref_id"], None)
        return flaws

    def differences(self, listed: dict[str, Any]) -> list[str]:
        """What a list of the service says otherwise."""
        told = [(ref["ref_id"], ref["blob"]["sha256"]) for ref in listed["items"]]
        ours = [(kept.ref_id, kept.sha256) for kept in self.live]
        self.version = listed["entity"]["version"]
        return [] if told == ours else [f"{self.path}: acknowledged were {ours}, there are {told}"]

    def _flaws_of_version(self, version: int, decision: str) -> list[str]:
        earlier, self.version = self.version, version
        grown = version > earlier or (decision == "noop" and version == earlier)
        return [] if grown else [f"{self.path}: version {version} after {earlier} with {decision}"]

    def _fill(self, ref: dict[str, Any]) -> None:
        self.live.insert(ref["position"], Kept.of(ref))

    def _trash(self, ref: dict[str, Any]) -> None:
        self.live = [kept for kept in self.live if kept.ref_id != ref["ref_id"]]
        self.trash[ref["ref_id"]] = Kept.of(ref)
