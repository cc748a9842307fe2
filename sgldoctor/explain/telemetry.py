"""The server's own measurements, as its log tells them: throughput, cache hits, queue and memory over time.

Read are the lines "Decode batch" and "Prefill batch" of every release ("new fill batch" before 0.1.14). Their fields
came and went; each is taken by its name, wherever it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

_LINE = re.compile(r"(?:Decode|Prefill|new fill) batch\b.*|.*gen throughput \(token/s\).*")
_FIELD = re.compile(r"(#?[A-Za-z][A-Za-z_ -]*(?: \(token/s\))?): (True|False|\d+(?:\.\d+)?)")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)")
_RANK = re.compile(r"\b(DP\d+)\b")
_MOST_BUCKETS = 512


@dataclass
class Amount:
    """A sum that knows how many made it, and the largest of them."""

    total: float = 0.0
    count: int = 0
    largest: float = 0.0

    def add(self, value: float) -> None:
        """Take in one more."""
        self.total += value
        self.count += 1
        self.largest = max(self.largest, value)

    @property
    def mean(self) -> float | None:
        """The mean, None of nothing."""
        return self.total / self.count if self.count else None


@dataclass
class Telemetry:
    """What the lines of a log add up to; takes constant memory."""

    decode: int = 0
    prefill: int = 0
    fields: dict[str, Amount] = field(default_factory=dict)
    full: int = 0
    """Lines at which at least 95 % of the KV cache was taken."""
    waiting_with_room: int = 0
    """Decode lines at which requests waited though a fifth of the KV cache was free."""
    without_graph: int = 0
    """Decode lines of a batch that no CUDA graph served."""
    with_graph: int = 0
    retractions: int = 0
    first: datetime | None = None
    last: datetime | None = None
    _width: int = 1
    _buckets: dict[int, dict[str, Amount]] = field(default_factory=dict)
    _origin: float = 0.0

    def add(self, text: str) -> None:
        """Take in one line of a log."""
        if "Retract requests" in text:
            self.retractions += 1
        found = _LINE.search(text)
        if not found:
            return
        values = {_NAMES.get(name.strip(), name.strip()): value for name, value in _FIELD.findall(found[0])}
        decode = found[0].startswith("Decode") or "gen throughput" in values
        numbers = {name: float(value) for name, value in values.items() if value not in {"True", "False"}}
        if not numbers:
            return
        self.decode += decode
        self.prefill += not decode
        for name, number in numbers.items():
            self.fields.setdefault(name, Amount()).add(number)
        self._judge(values, numbers, decode=decode)
        if stamp := _TIME.search(text):
            rank = _RANK.search(text)
            self._place(datetime.fromisoformat(stamp[1]), rank[1] if rank else "", numbers.get("gen throughput"))

    def _judge(self, values: dict[str, str], numbers: dict[str, float], *, decode: bool) -> None:
        usage = numbers.get("token usage")
        self.full += usage is not None and usage >= 0.95
        if decode:
            self.waiting_with_room += usage is not None and usage < 0.8 and numbers.get("queue", 0) > 0
            self.with_graph += values.get("cuda graph") == "True"
            self.without_graph += values.get("cuda graph") == "False"

    def _place(self, when: datetime, rank: str, throughput: float | None) -> None:
        self.first = min(self.first or when, when)
        self.last = max(self.last or when, when)
        if throughput is None:
            return
        seconds = when.timestamp()
        self._origin = self._origin or seconds
        bucket = self._buckets.setdefault(int(seconds - self._origin) // self._width, {})
        bucket.setdefault(rank, Amount()).add(throughput)
        while len(self._buckets) > _MOST_BUCKETS:
            self._widen()

    def _widen(self) -> None:
        """Halve the number of buckets."""
        self._width *= 2
        wide: dict[int, dict[str, Amount]] = {}
        for place, ranks in self._buckets.items():
            for rank, amount in ranks.items():
                into = wide.setdefault(place // 2, {}).setdefault(rank, Amount())
                into.total += amount.total
                into.count += amount.count
                into.largest = max(into.largest, amount.largest)
        self._buckets = wide

    def series(self, most: int) -> list[float | None]:
        """Return the generated tokens per second over time, all ranks together; None where nothing was logged."""
        if not self._buckets:
            return []
        low, high = min(self._buckets), max(self._buckets)
        step = max(1, -(-(high - low + 1) // most))
        points: list[float | None] = []
        for start in range(low, high + 1, step):
            sums = [self._together(place) for place in range(start, start + step) if place in self._buckets]
            points.append(sum(sums) / len(sums) if sums else None)
        return points

    def _together(self, place: int) -> float:
        return sum(amount.mean or 0.0 for amount in self._buckets[place].values())

    @property
    def seconds(self) -> float | None:
        """Seconds from the first line to the last, None where they carry no time."""
        return (self.last - self.first).total_seconds() if self.first and self.last else None

    @property
    def hit_ratio(self) -> float | None:
        """The share of prompt tokens that came from the cache."""
        cached, new = self.fields.get("cached token"), self.fields.get("new token")
        if not cached or not new or not cached.total + new.total:
            return None
        return cached.total / (cached.total + new.total)

    def advice(self) -> list[str]:
        """Return what to change, the most urgent first."""
        lines = self.decode + self.prefill
        hits = self.hit_ratio
        told = []
        if self.retractions or self.full > 0.2 * lines:
            told.append(
                "The KV cache was full: give it more memory with --mem-fraction-static (0.02 more at a time), store it "
                "in 8 bits with --kv-cache-dtype fp8_e5m2, or spread the model with --tp-size; where requests were "
                "retracted often, raise --schedule-conservativeness to 1.3."
            )
        if self.decode and self.waiting_with_room > 0.2 * self.decode:
            told.append(
                "Requests waited though the KV cache had room: raise --max-running-requests, or lower "
                "--schedule-conservativeness to 0.3 where clients ask for many tokens and get few."
            )
        if self.without_graph > 0.2 * max(1, self.with_graph + self.without_graph):
            told.append(
                "Decoding often ran without a CUDA graph: raise --cuda-graph-max-bs to the largest number of running "
                "requests, unless --disable-cuda-graph is wanted."
            )
        if hits is not None and hits < 0.05 and self.prefill >= 20:
            told.append(
                "Almost no prompt token came from the cache: put what prompts share at their beginning, and do not "
                "start the server with --disable-radix-cache."
            )
        return told


_NAMES: dict[str, str] = {
    "#running-req": "running", "#running_req": "running",
    "#queue-req": "queue", "#remaining_req": "queue",
    "#new-token": "new token", "#new_token": "new token",
    "#cached-token": "cached token", "#cached_token": "cached token",
    "full token usage": "token usage",
    "gen throughput (token/s)": "gen throughput",
    "input throughput (token/s)": "input throughput",
    "cpu graph": "cuda graph", "npu graph": "cuda graph",
}  # fmt: skip
