"""From a command to what a ledger needs for it: the question whose answer the judge must have, and the judge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from service.application.lifetimes import Lifetimes
from service.domain.arrangement import ReleaseAll, Reorder, decide_release_all, decide_reorder
from service.domain.decision import Attach, Decision, Release, RoleState, decide_attach, decide_release
from service.domain.lifecycle import (
    Purge,
    ReleaseRef,
    Restore,
    Revise,
    decide_purge,
    decide_release_ref,
    decide_restore,
    decide_revise,
)
from service.domain.policy import Policies
from service.ports.refs import Change, Question, RefQuestion, RoleQuestion

OfSlots = Attach | Release | Reorder | ReleaseAll
OfOneRef = ReleaseRef | Revise | Restore | Purge
Command = OfSlots | OfOneRef


@dataclass(frozen=True, slots=True)
class Rules:
    """What every decision about refs goes by."""

    policies: Policies
    lifetimes: Lifetimes

    def change(self, command: Command) -> Change:
        """The change that carries the command out."""
        return Change(_question(command), partial(self._judge, command))

    def _judge(self, command: Command, state: RoleState) -> Decision:
        match command:
            case Attach() | Release() | Reorder() | ReleaseAll():
                return self._judge_slots(command, state)
            case _:
                return self._judge_ref(command, state)

    def _judge_slots(self, command: OfSlots, state: RoleState) -> Decision:
        match command:
            case Attach():
                return decide_attach(state, command, self.policies, self.lifetimes.trash)
            case Release():
                return decide_release(state, command, self.policies, self.lifetimes.trash)
            case Reorder():
                return decide_reorder(state, command)
            case _:
                return decide_release_all(state, command, self.lifetimes.trash)

    def _judge_ref(self, command: OfOneRef, state: RoleState) -> Decision:
        match command:
            case ReleaseRef():
                return decide_release_ref(state, command, self.lifetimes.trash)
            case Revise():
                return decide_revise(state, command, self.policies)
            case Restore():
                return decide_restore(state, command, self.policies, self.lifetimes.trash)
            case _:
                return decide_purge(state, command)


def attach_question(command: Attach) -> RoleQuestion:
    """What the judge of an attach must know."""
    return RoleQuestion(command.entity, command.role, command.position, command.sha256, sent=command.sent)


def _question(command: Command) -> Question:
    match command:
        case Attach():
            return attach_question(command)
        case Release():
            return RoleQuestion(command.entity, command.role, command.position, None)
        case Reorder() | ReleaseAll():
            return RoleQuestion(command.entity, command.role, None, None, whole=True)
        case _:
            return RefQuestion(command.workspace, command.ref_id)
