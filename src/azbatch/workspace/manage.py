"""The use cases: plan, enable, status, disable. I/O through the ports only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from azbatch.errors import AzbatchError, ConfigurationError
from azbatch.workspace import apply, design, doctor, ledger, plan, preflight, residents
from azbatch.workspace.gather import BATCH_API, Gatherer
from azbatch.workspace.model import Facts, Finding, Options, Plan, Verb, Wanted
from azbatch.workspace.ports import Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A workspace looked at: facts, the design, the plan, and what stands in its way."""

    facts: Facts
    wanted: tuple[Wanted, ...]
    plan: Plan
    findings: tuple[Finding, ...]

    @property
    def untidy(self) -> bool:
        """Whether the ledger tells of what is neither wanted nor there: an enable ended before it could say so."""
        return self.plan.empty and ledger.after(self.facts, self.wanted) != ledger.before(self.facts, Plan(changes=()))

    @property
    def fatal(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.fatal)


def look(arm: Arm, options: Options) -> Looked:
    """Plan an enable. Raises ConfigurationError where no design can be made."""
    facts = Gatherer(arm, options).facts()
    wanted = design.design(facts)
    made = plan.plan(facts, wanted, plan.former(facts, wanted, design.every(facts)))
    return Looked(facts=facts, wanted=wanted, plan=made, findings=tuple(preflight.preflight(facts, made, wanted)))


def enable(arm: Arm, looked: Looked, tell: apply.Tell) -> Looked:
    """Carry the plan out, then look again: nothing may be left to do. Raises AzbatchError."""
    if looked.fatal:
        raise ConfigurationError([f"{one.sentence} {one.remedy}" for one in looked.fatal])
    names = design.names_of(looked.facts)
    apply.write_ledger(arm, names, ledger.before(looked.facts, looked.plan))
    apply.carry_out(arm, looked.plan, looked.facts, tell)
    again = look(arm, looked.facts.options)
    if not again.plan.empty:
        left = ", ".join(one.wanted.id.rsplit("/", 1)[1] for one in again.plan.changes if one.verb is not Verb.KEEP)
        raise AzbatchError(
            f"Some things are not yet as planned ({left}): somebody else may be at work; run the command again."
        )
    apply.write_ledger(arm, names, ledger.after(again.facts, again.wanted))
    return again


ROLE_STEP = 15.0  # seconds between two lines of progress


def makes_roles(plan_: Plan) -> bool:
    """Whether the plan gives somebody a role, which takes time to take effect."""
    return any("/roleAssignments/" in one.wanted.id and one.verb in {Verb.CREATE, Verb.UPDATE} for one in plan_.changes)


def wait_for_roles(seconds: float, say: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Let role assignments take effect, at most `seconds`, with progress.

    Azure tells nobody when they do: permissions can be asked for by whom they are for, not by the owner who gave them.
    Source: "Troubleshoot Azure RBAC", role assignment changes are not being detected (up to 10 minutes).
    """
    waited = 0.0
    while waited < seconds:
        say(f"Waiting for the roles to take effect: {waited:.0f} of {seconds:.0f} s (Ctrl-C is safe, all is made).")
        step = min(ROLE_STEP, seconds - waited)
        sleep(step)
        waited += step


def look_for_removal(arm: Arm, options: Options) -> Looked:
    """Plan a disable. It needs no head node, no whole environment, and none of the options that enable was given."""
    facts = Gatherer(arm, options).facts(everything=True)
    wanted = design.every(facts)
    made = plan.removal(facts, wanted)
    zones = [one.wanted.id for one in made.changes if one.wanted.code in {"zo", "zb"}]
    links = [one for zone in zones for one in arm.list(f"{zone}/virtualNetworkLinks", design.DNS_API)]
    findings = (
        *preflight.preflight(facts, made, ()),
        *preflight.unseen(facts),
        *residents.residents(facts, made, links),
    )
    return Looked(facts=facts, wanted=wanted, plan=made, findings=findings)


def pools(arm: Arm, looked: Looked) -> list[str]:
    """Names of the pools in the account."""
    account = design.names_of(looked.facts).account
    if looked.facts.found.get(account.lower()) is None:
        return []
    return [str(one["name"]) for one in arm.list(f"{account}/pools", BATCH_API)]


def _strange_pools(arm: Arm, looked: Looked) -> Iterator[str]:
    """`account/pool` of the pools of other accounts that stand in the Batch network, where it is to go."""
    names = design.names_of(looked.facts)
    if not any(one.wanted.code == "vn" for one in looked.plan.changes):
        return
    for account in arm.list(f"{names.scope}/providers/Microsoft.Batch/batchAccounts", BATCH_API):
        if str(account["id"]).lower() == names.account.lower():
            continue
        for pool in arm.list(f"{account['id']}/pools", BATCH_API):
            if doctor.pool_subnet(pool).lower().startswith(f"{names.network.lower()}/"):
                yield f"{account['name']}/{pool['name']}"


def check_pools(arm: Arm, looked: Looked, *, drop_pools: bool) -> list[str]:
    """The pools that have to go first. Raises AzbatchError for any, unless told that they may; for those of other
    accounts in the Batch network in any case.
    """
    strange = list(_strange_pools(arm, looked))
    if strange:
        raise AzbatchError(
            f"Pools of other Batch accounts stand in the Batch network ({', '.join(strange)}): delete them first."
        )
    there = pools(arm, looked)
    if there and not drop_pools:
        raise AzbatchError(
            f"The Batch account {design.names_of(looked.facts).account_name} has pools ({', '.join(there)}): delete "
            f"them first, or say --delete-pools."
        )
    return there


def disable(
    arm: Arm, looked: Looked, tell: apply.Tell, *, drop_pools: bool, say: Callable[[str], None] = lambda _text: None
) -> Looked:
    """Take away what the plan names, the ledger last; then look again.

    Raises AzbatchError while pools are there, unless told.
    """
    if looked.fatal:
        raise ConfigurationError([f"{one.sentence} {one.remedy}" for one in looked.fatal])
    names = design.names_of(looked.facts)
    for pool in check_pools(arm, looked, drop_pools=drop_pools):
        say(f"Deleting pool {pool}.")
        arm.delete(f"{names.account}/pools/{pool}", BATCH_API)
    apply.carry_out(arm, looked.plan, looked.facts, tell)
    again = look_for_removal(arm, looked.facts.options)
    if again.plan.changes:
        left = ", ".join(one.wanted.id.rsplit("/", 1)[1] for one in again.plan.changes)
        raise AzbatchError(
            f"Some things are still there ({left}): somebody else may be at work; run the command again."
        )
    apply.write_ledger(arm, names, {})
    return again
