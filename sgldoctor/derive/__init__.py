"""Facts that follow from other facts and from the tables. Pure, so that they follow for any snapshot anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.derive import (
    binaries,
    companions,
    cuda,
    cures,
    environment,
    gaps,
    gpus,
    kernels,
    machine,
    paths,
    releases,
    torch,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.snapshot import Facts, Snapshot

_STEPS: tuple[Callable[[Snapshot], Facts], ...] = (
    gpus.derive, visible.derive, torch.derive, companions.derive, kernels.carrier, binaries.derive, kernels.derive,
    visible.coverage, cuda.derive,
    releases.derive, machine.derive, cures.derive, environment.derive, gaps.derive, paths.derive,
)  # fmt: skip


def derive(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with everything added that follows from it; facts that were given stay."""
    for step in _STEPS:
        added = step(snapshot)
        snapshot = snapshot.with_facts({name: fact for name, fact in added.items() if name not in snapshot.facts})
    return snapshot
