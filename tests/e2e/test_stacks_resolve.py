"""Every shipped stack resolves today, asked of uv and the package index; about three minutes, nothing is installed."""

from __future__ import annotations

import pytest

from sgldoctor.install import stacks
from sgldoctor.install.execute.engine import Engine
from sgldoctor.install.resolve import resolve
from sgldoctor.install.target import Wish
from sgldoctor.rules.knowledge import kernel_fits
from sgldoctor.system import RealSystem

pytestmark = pytest.mark.slow
# Its builds lie on wheel indexes of their own, which not every network reaches.
ELSEWHERE = {"rtx-5090-torch-2.7.0"}


@pytest.mark.parametrize("found", stacks.load_stacks(), ids=lambda found: found.id)
def test_a_stack_resolves_to_what_it_names(found: stacks.Stack) -> None:
    plan = stacks.plan_for(found, stacks.named_target(found.target), Wish())
    answer = resolve(plan, Engine.find(RealSystem()).ask)
    assert (answer.status, answer.resolved) == ("ready", answer.resolved if found.id in ELSEWHERE else True)
    for before, after in zip(plan.environments, answer.environments, strict=True):
        assert dict(after.versions) == dict(before.versions)
        assert kernel_fits(dict(after.versions)) is not False
