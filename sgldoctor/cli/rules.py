"""``sgldoctor rules``: what the doctor knows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgldoctor.cli import refresh
from sgldoctor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from sgldoctor.rules.model import Problem

app = typer.Typer(
    help="List, show and validate the rules that check judges by.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command("refresh", epilog=refresh.EPILOG)(refresh.refresh)
app.command("update", epilog=refresh.UPDATE_EPILOG)(refresh.update)
app.command("export")(refresh.export)

_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
_Extra = Annotated[list[str] | None, typer.Option("--rules", metavar="PATH", help="Further rule files or folders.")]


def _load(extra: list[str] | None) -> tuple[Problem, ...]:
    from sgldoctor.rules.load import load_problems  # noqa: PLC0415 - keeps --help fast

    return load_problems(tuple(Path(path) for path in extra or ()))


@app.command("list")
def list_(*, as_json: _Json = False, rules: _Extra = None) -> None:
    """List all rules: id, severity, subject, title."""
    problems = _load(rules)
    if as_json:
        rows = [{"id": p.id, "severity": p.severity.value, "subject": p.subject, "title": p.title} for p in problems]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    width = max(len(problem.id) for problem in problems)
    for problem in problems:
        typer.echo(f"{problem.id:<{width}}  {problem.severity.value:<8} {problem.subject:<12} {problem.title}")
    typer.echo(f"{len(problems)} rules. More about one: sgldoctor rules show ID", err=True)


@app.command()
def show(rule: Annotated[str, typer.Argument(metavar="ID")], *, as_json: _Json = False, rules: _Extra = None) -> None:
    """Show one rule: what it looks for, the cause, the cures, the evidence."""
    problems = {problem.id: problem for problem in _load(rules)}
    if rule not in problems:
        raise UsageError(
            f"There is no rule {rule!r}.{did_you_mean(rule, list(problems))} List them with: sgldoctor rules list"
        )
    from sgldoctor.report import as_rule  # noqa: PLC0415 - keeps --help fast

    problem = problems[rule]
    sys.stdout.write(as_rule.as_json(problem) if as_json else as_rule.as_text(problem))


@app.command()
def validate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Rule files or folders; default: the shipped ones."),
    ] = None,
) -> None:
    """Check rule files: keys, facts, specifiers, patterns, and every example. Exit 3 lists all errors."""
    from sgldoctor.rules.validate import validate_rules  # noqa: PLC0415 - keeps --help fast

    count, examples = validate_rules(tuple(Path(path) for path in paths or ()))
    typer.echo(f"{count} rules are valid; {examples} examples came out as they say.")
    if not paths:
        from sgldoctor.install.stacks import load_stacks  # noqa: PLC0415 - keeps --help fast

        typer.echo(f"{len(load_stacks())} stacks are valid.")


@app.command()
def facts(*, as_json: _Json = False) -> None:
    """List the facts that rules may ask for, with their kinds."""
    from sgldoctor.facts import CATALOGUE  # noqa: PLC0415 - keeps --help fast

    if as_json:
        rows = [
            {
                "name": s.name,
                "kind": s.kind.value,
                "label": s.label,
                "fields": {k: v.value for k, v in s.fields.items()},
            }
            for s in CATALOGUE
        ]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for spec in CATALOGUE:
        typer.echo(f"{spec.name:<30} {spec.kind.value:<8} {spec.label}")
        if spec.fields:
            typer.echo(f"{'':<39} fields: {', '.join(f'{name} ({kind.value})' for name, kind in spec.fields.items())}")


@app.command()
def gpus(*, as_json: _Json = False) -> None:
    """List the GPUs that --gpu knows, with compute capability and memory."""
    from sgldoctor.rules.knowledge import table  # noqa: PLC0415 - keeps --help fast

    rows = table("gpus.yaml")["gpus"]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for row in rows:
        memory = f"{row['memory_gib']} GiB" if row.get("memory_gib") else ""
        typer.echo(
            f"{row['name']:<42} {row['capability']:<5} {row['architecture']:<10} {memory:<9} "
            f"{', '.join(row.get('aliases', ()))}"
        )


@app.command(
    epilog="""\b
Examples:
  sgldoctor rules stacks
  sgldoctor install --stack runpod-a40-sglang-0.4.9      the plan of one
"""
)
def stacks(*, as_json: _Json = False) -> None:
    """List the known sets of versions that install --stack takes, with what stands behind each."""
    from sgldoctor.install.stacks import load_stacks  # noqa: PLC0415 - keeps --help fast

    found = load_stacks()
    if as_json:
        rows = [
            {
                "id": s.id,
                "title": s.title,
                "target": s.target,
                "environments": [{"name": p.name, "engine": p.engine, "release": p.release} for p in s.parts],
                "evidence": {"level": s.level, "date": s.date},
                "references": list(s.references),
            }
            for s in found
        ]
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        return
    width = max(len(s.id) for s in found)
    for s in found:
        typer.echo(f"{s.id:<{width}}  {s.level:<9} {s.date}  {s.title}")
    typer.echo(f"{len(found)} stacks. The plan of one: sgldoctor install --stack ID", err=True)


_GPUS = ("T4", "V100", "A40", "A10G", "L4", "H100", "B200", "RTX 5090", "GB10", "Jetson Thor")


@app.command(
    epilog="""\b
Examples:
  sgldoctor rules kernels                                 all releases, the usual GPUs
  sgldoctor rules kernels --gpu "RTX 5090" --arch x86_64   from which release on does mine run
  sgldoctor rules kernels --release 0.3.21 --gpu t4 --json
"""
)
def kernels(
    *,
    gpu: Annotated[list[str] | None, typer.Option("--gpu", metavar="NAME", help="A column; may be repeated.")] = None,
    release: Annotated[
        list[str] | None, typer.Option("--release", metavar="VERSION", help="A kernel version; may be repeated.")
    ] = None,
    arch: Annotated[list[str] | None, typer.Option("--arch", metavar="CPU", help="x86_64 or aarch64.")] = None,
    as_json: _Json = False,
) -> None:
    """Show which released kernels hold code for which GPUs, and which torch they fit. Read in the wheels."""
    from sgldoctor.report import kernel_table  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.rules import knowledge  # noqa: PLC0415

    models = [knowledge.gpu(name) for name in gpu or _GPUS]
    known = [version for _, version in knowledge.kernel_releases()]
    releases = [version.rpartition("==")[2] for version in release or ()]
    for version in releases:
        if version not in known:
            raise UsageError(f"No kernel release {version!r} is known.{did_you_mean(version, known)}")
    archs = [knowledge.cpu_architecture(name) for name in arch or knowledge.CPU_ARCHITECTURES]
    table = kernel_table.rows(models, releases, archs)
    sys.stdout.write(kernel_table.as_json(table, models) if as_json else kernel_table.as_text(table, models))


@app.command("test")
def prove(*, rules: _Extra = None) -> None:
    """Run every rule's examples, then shift each of its bounds and drop each condition: some example must notice."""
    from sgldoctor.errors import RulesError  # noqa: PLC0415 - keeps --help fast
    from sgldoctor.rules.load import load_problems  # noqa: PLC0415
    from sgldoctor.rules.mutate import survivors  # noqa: PLC0415
    from sgldoctor.rules.validate import validate_rules  # noqa: PLC0415

    paths = tuple(Path(path) for path in rules or ())
    _, examples = validate_rules(paths)
    problems = load_problems(paths, examples=True)
    unnoticed = [f"{p.id}: no example notices {mutant.name}" for p in problems for mutant in survivors(p)]
    if unnoticed:
        raise RulesError(unnoticed)
    typer.echo(f"{len(problems)} rules: {examples} examples came out as they say, and notice every shifted bound.")
