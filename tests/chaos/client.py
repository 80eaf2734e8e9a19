"""A client of the service: it does what services do with media, and remembers everything that it was promised."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.books import Kept, Shelf
from tests.chaos.calls import Calls, NoAnswer, code_of
from tests.chaos.contents import Contents
from tests.chaos.lifetimes import Lifetimes
from tests.chaos.tally import Tally
from tests.parts.caller import sha256_of

MOST_REFS = 12
MOST_THOUGHT_S = 1.0

Action = Callable[[Shelf], Awaitable[None]]


@dataclass
class Client:
    """One writer of some shelves. `leases` says until when bytes must be held, by workspace and hash.

    `operator` may grant bytes of the client's workspace to another one.
    """

    shelves: list[Shelf]
    operator: dict[str, str]
    calls: Calls
    contents: Contents
    lifetimes: Lifetimes
    tally: Tally
    rng: random.Random
    leases: dict[tuple[str, str], float] = field(default_factory=dict)

    async def work(self, until: float) -> None:
        """One thing after the other; whatever has begun at `until` is brought to its end."""
        actions = self._actions()
        names = list(actions)
        weights = [weight for weight, _ in actions.values()]
        try:
            while time.time() < until:
                [name] = self.rng.choices(names, weights)
                await actions[name][1](self.rng.choice(self.shelves))
                self.tally.done[name] += 1
                await asyncio.sleep(self.rng.uniform(0, MOST_THOUGHT_S))
        except NoAnswer:
            return

    async def look_through(self) -> None:
        """Everything acknowledged is there: the lists, and every byte of what may be fetched."""
        for shelf in self.shelves:
            await self.list(shelf)
            for kept in [*shelf.everything()]:
                await self._fetch(shelf, kept)

    def _actions(self) -> dict[str, tuple[int, Action]]:
        return {
            "upload": (8, self.upload),
            "attach": (14, self.attach),
            "attach bytes": (10, self.attach_bytes),
            "replace": (10, self.replace),
            "release": (10, self.release),
            "release all": (2, self.release_all),
            "restore": (10, self.restore),
            "reorder": (8, self.reorder),
            "purge": (4, self.purge),
            "update": (3, self.update),
            "batch": (6, self.batch),
            "grant": (5, self.grant),
            "give up": (3, self.give_up),
            "list": (4, self.list),
            "fetch": (12, self.fetch),
        }

    async def upload(self, shelf: Shelf) -> None:
        """Send bytes, named by their hash or not."""
        await self._upload(shelf, self.contents.pick(shelf.is_single))

    async def attach(self, shelf: Shelf) -> None:
        """Append what is held, or was; a single role is filled."""
        sha256 = await self._held(shelf)
        path, method = (f"{shelf.path}/0", "PUT") if shelf.is_single else (shelf.path, "POST")
        if len(shelf.live) < MOST_REFS:
            await self._change(shelf, method, path, sha256, json={"sha256": sha256})

    async def attach_bytes(self, shelf: Shelf) -> None:
        """Upload and attach in one request, raw or as a form."""
        if len(shelf.live) >= MOST_REFS and not shelf.is_single:
            await self.release_all(shelf)
            return
        content, began = self.contents.pick(shelf.is_single), time.time()
        path, method = (f"{shelf.path}/0", "PUT") if shelf.is_single else (shelf.path, "POST")
        body: dict[str, Any] = {"content": content, "params": {"alt": "raw"}}
        if self.rng.random() < 0.3:
            body = {"files": {"file": ("a-file", content)}, "data": {"alt": "form"}}
        if await self._change(shelf, method, path, sha256_of(content), **body) is not None:
            self._lease(shelf.workspace, sha256_of(content), began)

    async def replace(self, shelf: Shelf) -> None:
        """Fill a slot that is taken."""
        if shelf.live:
            sha256, position = await self._held(shelf), self.rng.randrange(len(shelf.live))
            path = f"{shelf.path}/{position}"
            await self._change(shelf, "PUT", path, sha256, shelf.if_match, json={"sha256": sha256})

    async def release(self, shelf: Shelf) -> None:
        """By position or by id."""
        if not shelf.live:
            return
        position = self.rng.randrange(len(shelf.live))
        if self.rng.random() < 0.5:
            await self._change(shelf, "DELETE", f"/media/{shelf.live[position].ref_id}")
        else:
            await self._change(shelf, "DELETE", f"{shelf.path}/{position}", None, shelf.if_match)

    async def release_all(self, shelf: Shelf) -> None:
        """The role, or the whole entity, which has no other role here."""
        path = self.rng.choice([shelf.path, f"/refs/{shelf.entity}"])
        await self._change(shelf, "DELETE", path)

    async def restore(self, shelf: Shelf) -> None:
        """Out of the trash, sometimes when it must have ended there."""
        if kept := self._of_trash(shelf):
            body = {"on_conflict": "replace"} if shelf.is_single and self.rng.random() < 0.7 else {}
            await self._change(shelf, "POST", f"/media/{kept.ref_id}/restore", json=body)

    async def reorder(self, shelf: Shelf) -> None:
        """Any order."""
        if shelf.live and not shelf.is_single:
            ref_ids = [kept.ref_id for kept in shelf.live]
            self.rng.shuffle(ref_ids)
            await self._change(shelf, "PUT", f"{shelf.path}/order", None, shelf.if_match, json={"ref_ids": ref_ids})

    async def purge(self, shelf: Shelf) -> None:
        """End it now."""
        if kept := self._of_trash(shelf):
            await self._change(shelf, "POST", f"/media/{kept.ref_id}/purge")

    async def update(self, shelf: Shelf) -> None:
        """Other words."""
        if shelf.live:
            path = f"/media/{self.rng.choice(shelf.live).ref_id}"
            await self._change(shelf, "PATCH", path, json={"alt": f"words {self.rng.random()}"})

    async def batch(self, shelf: Shelf) -> None:
        """All or none: something new, something released."""
        sha256 = await self._held(shelf)
        entity_type, _, entity_id = shelf.entity.partition("/")
        slot = {"entity_type": entity_type, "entity_id": entity_id, "role": shelf.role, "sha256": sha256}
        first = {"op": "put", "position": 0, **slot} if shelf.is_single else {"op": "append", **slot}
        operations: list[dict[str, Any]] = [first]
        if shelf.live and not shelf.is_single:
            operations.append({"op": "release", "ref_id": self.rng.choice(shelf.live).ref_id})
            operations.append({"op": "append", **slot})
        await self._change(shelf, "POST", "/refs/batch", sha256, json={"operations": operations})

    async def grant(self, _: Shelf) -> None:
        """An operator gives another workspace what this one sent, which is attached there."""
        guest, own = self.shelves[-1], self.shelves[0]
        sha256, headers = await self._held(own), {**self.operator, "workspace": guest.workspace}
        began = time.time()
        response = await self.calls.write(headers, "PUT", f"/holdings/{sha256}")
        if response.is_success:
            self._lease(guest.workspace, sha256, began)
            if len(guest.live) >= MOST_REFS:
                await self.release_all(guest)
            await self._change(guest, "POST", guest.path, sha256, json={"sha256": sha256})
        else:
            self._judge(own, response, "a grant", sha256)

    async def give_up(self, shelf: Shelf) -> None:
        """What nobody else ever sent and nothing shows."""
        content = self.contents.fresh(picture=False)
        await self._upload(shelf, content)
        self.leases.pop((shelf.workspace, sha256_of(content)), None)
        response = await self.calls.write(shelf.headers, "DELETE", f"/blobs/{sha256_of(content)}")
        self.tally.check(response.status_code in {204, 404}, f"a holding could not be given up: {response.text}")

    async def list(self, shelf: Shelf) -> None:
        """The list of the service is the one that was acknowledged."""
        response = await self.calls.definite(shelf.headers, "GET", shelf.path)
        for flaw in shelf.differences(response.json()):
            self.tally.flaw(flaw)

    async def fetch(self, shelf: Shelf) -> None:
        """The bytes of anything acknowledged."""
        if everything := [*shelf.everything()]:
            await self._fetch(shelf, self.rng.choice(everything))

    async def _fetch(self, shelf: Shelf, kept: Kept) -> None:
        response = await self.calls.definite(shelf.headers, "GET", f"/media/{kept.ref_id}/file")
        if response.is_success:
            right = sha256_of(response.content) == kept.sha256
            self.tally.check(right, f"the bytes of {kept.ref_id} are not {kept.sha256}")
            self.tally.done["bytes compared"] += 1
        else:
            self._judge_end(shelf, kept, response)

    async def _upload(self, shelf: Shelf, content: bytes) -> None:
        sha256, began = sha256_of(content), time.time()
        if self.rng.random() < 0.5:
            response = await self.calls.definite(shelf.headers, "PUT", f"/blobs/{sha256}", content=content)
        else:
            response = await self.calls.write(shelf.headers, "POST", "/blobs", content=content)
        if response.is_success:
            self._lease(shelf.workspace, sha256, began)
        else:
            self._judge(shelf, response, "an upload", sha256)

    async def _change(
        self,
        shelf: Shelf,
        method: str,
        path: str,
        sha256: str | None = None,
        headers: dict[str, str] | None = None,
        **content: Any,
    ) -> dict[str, Any] | None:
        """The document of a change that was carried out and entered, None for one that was refused with reason."""
        response = await self.calls.write(headers or shelf.headers, method, path, **content)
        if not response.is_success:
            await self._refused(shelf, response, f"{method} {path}", sha256)
            return None
        document: dict[str, Any] = response.json()
        results = document.get("results", [document])
        for flaw in [flaw for result in results for flaw in shelf.apply(result)]:
            self.tally.flaw(flaw)
        return document

    async def _refused(self, shelf: Shelf, response: httpx.Response, what: str, sha256: str | None) -> None:
        match code_of(response):
            case "version-conflict":
                await self.list(shelf)  # time ended something in the trash, which is a change of the entity
            case "gone":
                ref_id = response.request.url.path.split("/")[2]
                self._judge_end(shelf, shelf.trash[ref_id], response)
            case "slot-taken":
                self.tally.check(bool(shelf.live), f"{what}: slot-taken, and nothing is there")
            case _:
                self._judge(shelf, response, what, sha256)

    def _judge(self, shelf: Shelf, response: httpx.Response, what: str, sha256: str | None) -> None:
        """Only bytes whose lease is over and that no ref needs may be lost."""
        if sha256 is None or code_of(response) not in {"blob-not-held", "not-found"}:
            self.tally.flaw(f"{what}: {response.status_code} {response.text[:300]}")
            return
        leased = time.time() < self.leases.pop((shelf.workspace, sha256), 0)
        needed = any(each.needs(sha256) for each in self.shelves if each.workspace == shelf.workspace)
        self.tally.check(not leased and not needed, f"{what}: {sha256} was acknowledged, and is not held any more")

    def _judge_end(self, shelf: Shelf, kept: Kept, response: httpx.Response) -> None:
        """Only time may have ended it, and only in the trash."""
        sentence = f"{response.request.url.path}: {response.status_code} {code_of(response)} before its time"
        self.tally.check(not kept.must_be_there(), sentence)
        shelf.trash.pop(kept.ref_id, None)

    async def _held(self, shelf: Shelf) -> str:
        """Bytes that the workspace was told it holds; sent now where there are none."""
        known = [sha256 for workspace, sha256 in self.leases if workspace == shelf.workspace]
        fit = [sha256 for sha256 in known if self.contents.known[sha256].startswith(b"\xff\xd8") == shelf.is_single]
        if fit and self.rng.random() < 0.7:
            return self.rng.choice(fit)
        content = self.contents.pick(shelf.is_single)
        await self._upload(shelf, content)
        return sha256_of(content)

    def _lease(self, workspace: str, sha256: str, began: float) -> None:
        """Held since some time after `began`."""
        until = began + self.lifetimes.holding
        self.leases[workspace, sha256] = max(until, self.leases.get((workspace, sha256), 0))

    def _of_trash(self, shelf: Shelf) -> Kept | None:
        return self.rng.choice([*shelf.trash.values()]) if shelf.trash else None
