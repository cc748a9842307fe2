"""Carrying out a plan: the only room besides `system` that changes anything, and only inside the plan's folders."""

from sgldoctor.install.execute.run import Work, execute
from sgldoctor.install.execute.source import is_locked, plan_in_folder, plan_in_lock, plan_in_wheelhouse
from sgldoctor.install.execute.wheelhouse import download

__all__ = ["Work", "download", "execute", "is_locked", "plan_in_folder", "plan_in_lock", "plan_in_wheelhouse"]
