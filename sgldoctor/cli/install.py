"""``sgldoctor install``: from a GPU's name to a plan that works, written down or carried out."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sgldoctor.cli.install_options import Engine, Format, Installer, folder, refuse_contradictions, written_as
from sgldoctor.errors import ExitCode, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sgldoctor.install.plan import Plan
    from sgldoctor.install.target import Target, Wish

EPILOG = """\b
Examples:
  sgldoctor install --gpu a40                                   the newest release that runs there, as a plan
  sgldoctor install --gpu a40 --sglang 0.4.9 --python 3.10 --execute
  sgldoctor install --sglang latest --with 'peft>=0.15'         this machine's GPU and driver
  sgldoctor install --gpu h100 --driver 535 --format dockerfile > Dockerfile
  sgldoctor install --gpu 'RTX 5090' --format shell > install.sh
  sgldoctor install --stack art-two-environments                known sets: sgldoctor rules stacks
  sgldoctor install --engine vllm --gpu a10g

\b
Exit codes: 0 the plan is ready, or done; 1 refused; 2 wrong usage; 3 the index does not answer, or the folder or the
disk cannot be used; 5 a step of --execute failed.
"""


_MACHINE = "The machine"
_WHAT = "What to install"
_DO = "Carrying it out"
_OUT = "The plan"


def command(  # noqa: PLR0913 - every option of the command stands here
    *,
    gpu: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Such as a40. Repeatable: all must be served.", rich_help_panel=_MACHINE),
    ] = None,
    driver: Annotated[
        str | None, typer.Option(metavar="VERSION", help="NVIDIA driver, such as 535.", rich_help_panel=_MACHINE)
    ] = None,
    cuda: Annotated[
        str | None,
        typer.Option(metavar="X.Y", help="CUDA to build for, and no newer; 12.8.", rich_help_panel=_MACHINE),
    ] = None,
    python: Annotated[
        str | None, typer.Option(metavar="3.Y|PATH", help="Version, or an interpreter.", rich_help_panel=_MACHINE)
    ] = None,
    arch: Annotated[
        str | None, typer.Option(metavar="CPU", help="x86_64 or aarch64.", rich_help_panel=_MACHINE)
    ] = None,
    glibc: Annotated[str | None, typer.Option(metavar="2.Y", help="C library.", rich_help_panel=_MACHINE)] = None,
    sglang: Annotated[
        str | None,
        typer.Option(
            "--sglang",
            "--release",
            metavar="VERSION|SPEC|latest",
            help="Release; default: the newest that the machine can run.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="What shall serve.", rich_help_panel=_WHAT)] = Engine.SGLANG,
    extra: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Extra of the engine. Repeatable.", rich_help_panel=_WHAT)
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="REQ", help="Further requirement. Repeatable.", rich_help_panel=_WHAT),
    ] = None,
    stack: Annotated[
        str | None, typer.Option(metavar="ID", help="A known set; see sgldoctor rules stacks.", rich_help_panel=_WHAT)
    ] = None,
    override: Annotated[
        bool, typer.Option("--override", help="Replace pins that are gone from the index.", rich_help_panel=_WHAT)
    ] = False,
    venv: Annotated[
        str, typer.Option(metavar="DIR", help="The new environment's folder.", rich_help_panel=_DO)
    ] = ".venv-sglang",
    installer: Annotated[
        Installer, typer.Option(help="Whose commands the plan shows.", rich_help_panel=_OUT)
    ] = Installer.UV,
    no_resolve: Annotated[
        bool,
        typer.Option("--no-resolve", help="Answer from the tables alone; no network.", rich_help_panel=_OUT),
    ] = False,
    output: Annotated[
        Format | None,
        typer.Option("--format", help="How to write it; default: text.", rich_help_panel=_OUT),
    ] = None,
    write_to: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Write it there; for uv a folder with pyproject.toml and uv.lock.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.", rich_help_panel=_OUT)] = False,
    execute: Annotated[bool, typer.Option("--execute", help="Carry the plan out.", rich_help_panel=_DO)] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an execution was stopped.", rich_help_panel=_DO)
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what was made when a step fails.", rich_help_panel=_DO)
    ] = False,
    download: Annotated[
        str | None, typer.Option(metavar="DIR", help="Collect all wheels there.", rich_help_panel=_DO)
    ] = None,
    wheelhouse: Annotated[
        str | None, typer.Option(metavar="DIR", help="Install from such a folder, no network.", rich_help_panel=_DO)
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="LOCK", help="Install what a lock file says.", rich_help_panel=_DO)
    ] = None,
) -> int:
    """Plan an environment for SGLang that works on a machine, and with --execute make it, verified after every step."""
    form = written_as(output, as_json=as_json, write_to=write_to, acts=execute or bool(download))
    venv = folder(venv)
    what = {"--gpu": gpu, "--driver": driver, "--cuda": cuda, "--python": python, "--arch": arch, "--glibc": glibc}
    which = {"--sglang": sglang, "--engine": engine is not Engine.SGLANG, "--extra": extra, "--with": with_}
    given = {**what, **which, "--override": override, "--stack": stack}
    refuse_contradictions(given, {"--from": from_, "--wheelhouse": wheelhouse})
    if (resume or clean) and not execute:
        raise UsageError("--resume and --clean belong to --execute. Add it.")
    locks: dict[str, Any] = {}
    plan: Plan | None = None
    settle: Callable[[Plan], Plan] = _as_it_is
    if from_ or wheelhouse:
        plan, locks = _stored(from_, wheelhouse, venv)
    elif resume:
        plan, settle = _begun(venv, no_resolve=no_resolve, named=any(given.values()))
    if plan is None:
        named = {"driver": driver, "cuda": cuda, "python": python, "arch": arch, "glibc": glibc}
        target = _target(tuple(gpu or ()), named, stack, in_image=form in {Format.DOCKERFILE, Format.MODAL})
        wish = _wish(sglang, engine, extra, with_, override=override, installer=installer, venv=venv, python=python)
        plan = _planned(target, wish, stack)
        if not no_resolve:
            settle = partial(_resolved, other=None if stack else partial(_for_release, target, wish))
    if plan.status == "ready" and (download or not execute):  # what is carried out at once settles on the way
        plan, settle = settle(plan), _as_it_is
    if plan.status == "ready" and download:
        _collect(plan, download)
    if plan.status != "ready" or not (execute or download):
        return _show(plan, form, stack, write_to)
    return (
        int(ExitCode.OK)
        if not execute
        else _carry_out(plan, form, stack, settle, resume=resume, clean=clean, locks=locks)
    )


def _target(gpus: tuple[str, ...], named: dict[str, str | None], stack: str | None, *, in_image: bool) -> Target:
    """Return the machine: as named, then as the stack says, then as found here; an image has its own C library."""
    from sgldoctor.install import target as targets  # noqa: PLC0415
    from sgldoctor.install.render.common import IMAGE_GLIBC  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.install.stacks import stack as find_stack  # noqa: PLC0415
    from sgldoctor.probes.run import Scope, observe  # noqa: PLC0415
    from sgldoctor.probes.target import choose  # noqa: PLC0415
    from sgldoctor.system import RealSystem  # noqa: PLC0415

    system = RealSystem()
    python = named["python"]
    if python and re.fullmatch(r"python3\.\d+", python):
        named = {**named, "python": python.removeprefix("python")}
    elif python and _is_path(python):
        named = {**named, "python": choose(system, python=python, venv=None, rooted=False).interpreter.minor}
    own = find_stack(stack).target if stack else {}
    if in_image:
        named = {**named, "glibc": named["glibc"] or IMAGE_GLIBC}
    models = gpus or tuple(own[key] for key in ("gpu",) if key in own)
    target = targets.named(gpus=models, **{key: value or own.get(key) for key, value in named.items()})
    arch_given = bool(named["arch"] or own.get("arch"))
    return targets.completed(target, observe(system, Scope(environment=False)), arch_given=arch_given)


def _wish(  # noqa: PLR0913 - one per option
    release: str | None,
    engine: Engine,
    extras: list[str] | None,
    additions: list[str] | None,
    *,
    override: bool,
    installer: Installer,
    venv: str,
    python: str | None,
) -> Wish:
    """Return what shall be installed.

    Raises:
        UsageError: a release or requirement is none, or pip is asked for what it cannot do.
    """
    from sgldoctor.install import target as targets  # noqa: PLC0415 - keeps --help fast

    if installer is Installer.PIP and override:
        raise UsageError("pip cannot replace the pins of another package, so --override needs --installer uv.")
    return targets.Wish(
        engine.value,
        targets.release_wish(release) if release is not None else None,
        tuple(extras or ()),
        tuple(targets.addition(text) for text in additions or ()),
        override,
        venv,
        python if python and _is_path(python) else None,
        installer.value,
    )


def _is_path(python: str) -> bool:
    return "/" in python


def _planned(target: Target, wish: Wish, stack: str | None) -> Plan:
    from sgldoctor.install import planner, stacks, vllm  # noqa: PLC0415 - keeps --help fast

    if stack:
        return stacks.plan_for(stacks.stack(stack), target, wish)
    return vllm.plan_for(target, wish) if wish.engine == "vllm" else planner.plan_for(target, wish)


def _for_release(target: Target, wish: Wish, release: str) -> Plan:
    return _planned(target, replace(wish, release=f"=={release}"), None)


def _as_it_is(plan: Plan) -> Plan:
    return plan


def _resolved(plan: Plan, other: Callable[[str], Plan] | None = None) -> Plan:
    """Return the plan as uv resolves it now; on a terminal something moves meanwhile."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    from sgldoctor.install.execute.engine import Engine as Uv  # noqa: PLC0415
    from sgldoctor.install.resolve import resolve  # noqa: PLC0415
    from sgldoctor.system import RealSystem  # noqa: PLC0415

    console = Console(stderr=True)
    uv = Uv.find(RealSystem())
    with console.status("uv resolves the plan") if console.is_terminal else nullcontext():
        return resolve(plan, uv.ask, other)


def _stored(lock: str | None, wheelhouse: str | None, venv: str) -> tuple[Plan, dict[str, Any]]:
    from sgldoctor.install.execute import plan_in_lock, plan_in_wheelhouse  # noqa: PLC0415 - keeps --help fast

    found = plan_in_lock(lock, venv) if lock else plan_in_wheelhouse(str(wheelhouse), venv)
    return found[0], dict(found[1])


def _begun(venv: str, *, no_resolve: bool, named: bool) -> tuple[Plan | None, Callable[[Plan], Plan]]:
    """Return the plan of an installation that was begun, None where none was, and how it is settled.

    Raises:
        InstallRefusedError: none was, and nothing is named that could begin.
    """
    from sgldoctor.install.execute import is_locked, plan_in_folder  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.install.execute.errors import InstallRefusedError  # noqa: PLC0415

    plan = plan_in_folder(venv)
    if not plan and not named:
        raise InstallRefusedError(f"Nothing was begun in {venv}. Begin there: name what to install, such as --gpu a40.")
    settled = not plan or plan.resolved or no_resolve or is_locked(venv)
    return plan, _as_it_is if settled else _resolved


def _show(plan: Plan, form: Format, stack: str | None, path: str | None = None) -> int:
    """Print the plan, or write it down, and return the exit code that it stands for."""
    from sgldoctor.cli.terminal import show  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.install.render import render, text  # noqa: PLC0415
    from sgldoctor.install.stacks import stack as find_stack  # noqa: PLC0415

    ready = plan.status in {"ready", "done"}
    own = find_stack(stack).dockerfile if stack and form is Format.DOCKERFILE else None
    if form is Format.TEXT:
        show(lambda width: text.lines(plan, width))
    elif not ready and form is not Format.JSON:
        sys.stderr.write("".join(f"{line}\n" for line, _ in text.lines(plan, 110)))
    elif path:
        _write(plan, own or render(plan, form.value), form, path)
    else:
        sys.stdout.write(own or render(plan, form.value))
    return int(ExitCode.OK if ready else ExitCode.FINDINGS)


def _write(plan: Plan, text: str, form: Format, path: str) -> None:
    """Write a plan to a file; a uv project into a folder, with the lock that uv makes of it.

    Raises:
        OutputError: it cannot be written, or uv cannot lock it.
    """
    from sgldoctor.install.execute import interpreter  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.install.execute.engine import Engine as Uv  # noqa: PLC0415
    from sgldoctor.system import RealSystem  # noqa: PLC0415
    from sgldoctor.system.files import write_text  # noqa: PLC0415

    if form is not Format.UV:
        write_text(Path(path), text)
        typer.echo(f"Written to {path}.", err=True)
        return
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make {path}: {error.strerror}.") from None
    write_text(Path(path, "pyproject.toml"), text)
    uv = Uv.find(RealSystem())
    python = interpreter.find(plan.environments[0].python, uv)
    command = ["lock", "--directory", path, "--python", python, "--no-python-downloads", "--color", "never"]
    done = uv.ask(command, 900)
    if done.code:
        reason = " ".join(done.err.split())[-300:]
        raise OutputError(f"{path}/pyproject.toml is written; uv could not lock it: {reason}")
    typer.echo(f"Written to {path}: pyproject.toml and uv.lock.", err=True)


def _collect(plan: Plan, folder: str) -> None:
    from sgldoctor.cli import progress  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.install import execute as executor  # noqa: PLC0415

    for path in executor.download(plan, folder, progress.reporter()):
        typer.echo(path)


def _carry_out(
    plan: Plan, form: Format, stack: str | None, settle: Callable[[Plan], Plan], *, resume: bool, clean: bool,
    locks: dict[str, Any],
) -> int:  # fmt: skip
    """Make the environments, and tell how it went."""
    from sgldoctor.cli import progress  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.cli.terminal import show  # noqa: PLC0415
    from sgldoctor.install import execute as executor  # noqa: PLC0415
    from sgldoctor.install.plan import to_json  # noqa: PLC0415
    from sgldoctor.install.render import text  # noqa: PLC0415

    def shown(plan: Plan) -> Plan:
        exact = settle(plan)
        if exact.status == "ready" and form is not Format.JSON:
            show(lambda width: text.lines(exact, width, advice=False))
        return exact

    work = executor.Work(resume=resume, clean=clean, locks=locks, settle=shown)
    done = executor.execute(plan, work, progress.reporter())
    if done.status == "refused":
        return _show(done, form, stack)
    if form is Format.JSON:
        sys.stdout.write(to_json(done))
    else:
        show(lambda width: text.outcome(done, width))
    return int(ExitCode.OK if done.status == "done" else ExitCode.INSTALL_FAILED)
