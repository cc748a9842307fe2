"""The server's measurements, summed up for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgldoctor.report.as_json import SCHEMA_VERSION, written
from sgldoctor.report.as_text import wrapped
from sgldoctor.report.entry import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.explain.telemetry import Telemetry

_BARS = "▁▂▃▄▅▆▇█"
_POINTS = 60


def as_json(telemetry: Telemetry) -> str:
    """Return the sums as a JSON text."""
    return written(
        {
            "schema_version": SCHEMA_VERSION,
            "lines": {"decode": telemetry.decode, "prefill": telemetry.prefill},
            "seconds": telemetry.seconds,
            "cache_hit_ratio": _rounded(telemetry.hit_ratio),
            "retractions": telemetry.retractions,
            "lines_with_full_cache": telemetry.full,
            "fields": {
                name: {"mean": _rounded(amount.mean), "max": amount.largest, "count": amount.count}
                for name, amount in sorted(telemetry.fields.items())
            },
            "throughput": [_rounded(point) for point in telemetry.series(_POINTS)],
            "advice": telemetry.advice(),
        },
        sort_keys=False,
    )


def lines(telemetry: Telemetry, width: int) -> Iterator[tuple[str, str]]:
    """Yield (text, style) line by line: what was measured, a small chart, what to change."""
    seconds = telemetry.seconds
    span = f" in {_time(seconds)}" if seconds else ""
    yield f"{telemetry.decode} decode and {telemetry.prefill} prefill lines{span}", "bold"
    for label, text in _rows(telemetry):
        yield from entry(label, text, width, "", indent=18)
    points = telemetry.series(min(_POINTS, max(20, width - 20)))
    if len(points) > 1:
        yield from entry("over time", chart(points), max(width, len(points) + 20), "cyan", indent=18)
    yield "", ""
    for text in telemetry.advice() or ["Nothing here asks for a change."]:
        yield from wrapped(text, width)


def chart(points: list[float | None]) -> str:
    """Return a line of bars, from nothing to the largest value; a dot where nothing was measured."""
    top = max((point for point in points if point is not None), default=0.0)
    if not top:
        return _BARS[0] * len(points)
    return "".join("·" if p is None else _BARS[min(len(_BARS) - 1, int(p / top * len(_BARS)))] for p in points)


def _rows(telemetry: Telemetry) -> Iterator[tuple[str, str]]:
    fields = telemetry.fields
    if found := fields.get("gen throughput"):
        yield "generated", f"{_number(found.mean)} tokens/s on average, {_number(found.largest)} at most (per rank)"
    if found := fields.get("input throughput"):
        yield "read", f"{_number(found.mean)} tokens/s on average, {_number(found.largest)} at most"
    if (ratio := telemetry.hit_ratio) is not None:
        yield "cache hits", f"{ratio:.0%} of the prompt tokens"
    if found := fields.get("token usage"):
        share = telemetry.full / max(1, found.count)
        text = f"{_percent(found.mean)} of the KV cache on average, {_percent(found.largest)} at most"
        yield "token usage", text + (f"; full (95 % or more) in {share:.0%} of the lines" if telemetry.full else "")
    for name, label in (("running", "running requests"), ("queue", "queue")):
        if found := fields.get(name):
            yield label, f"{_number(found.mean)} on average, {_number(found.largest)} at most"
    if telemetry.retractions:
        yield "retractions", f"{telemetry.retractions} times requests were put back, because the KV cache was full"
    if graphs := telemetry.with_graph + telemetry.without_graph:
        yield "CUDA graph", f"in {telemetry.with_graph / graphs:.0%} of the decode lines"
    if found := fields.get("accept len"):
        yield "accepted", f"{found.mean:.2f} tokens per step of speculative decoding"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
