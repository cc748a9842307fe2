"""Sums over the server's own measurements, in the wording of every release."""

from __future__ import annotations

import pytest

from sgldoctor.explain.telemetry import Telemetry
from sgldoctor.report.telemetry import chart


def added(*lines: str) -> Telemetry:
    telemetry = Telemetry()
    for line in lines:
        telemetry.add(line)
    return telemetry


# One decode line of each wording: the words of the release's own source, with numbers.
DECODE = {
    "0.1.3": "#running-req: 12, #token: 900, token usage: 0.55, gen throughput (token/s): 800.50, #queue-req: 3",
    "0.1.17": "[gpu_id=0] Decode batch. #running-req: 12, #token: 900, token usage: 0.55, gen throughput (token/s): 800.50, #queue-req: 3",
    "0.4.0": "[2024-12-03 10:00:00 TP0] Decode batch. #running-req: 12, #token: 900, token usage: 0.55, gen throughput (token/s): 800.50, #queue-req: 3",
    "0.4.9": "[2025-07-06 10:00:00 DP0 TP0] Decode batch. #running-req: 12, #token: 900, token usage: 0.55, accept len: 2.50, cuda graph: True, gen throughput (token/s): 800.50, #queue-req: 3",
    "0.5.4": "[2025-10-26 10:00:00 TP0] Decode batch [41], #running-req: 12, #token: 900, token usage: 0.55, accept len: 2.50, accept rate: 0.80, cuda graph: True, gen throughput (token/s): 800.50, #queue-req: 3, ",
    "0.5.5 swa": "[2025-11-06 10:00:00] Decode batch, #running-req: 12, #full token: 900, full token usage: 0.55, #swa token: 90, swa token usage: 0.10, cuda graph: True, gen throughput (token/s): 800.50, #queue-req: 3, ",
    "0.5.23": "[2026-10-30 10:00:00 TP0] Decode batch, #running-req: 12, #token: 900, token usage: 0.55, cuda graph: True, gen throughput (token/s): 800.50, #queue-req: 3",
}  # fmt: skip
PREFILL = {
    "0.1.17 early": "new fill batch. #seq: 1. #cached_token: 30. #new_token: 10. #remaining_req: 2. #running_req: 4. tree_cache_hit_rate: 75.00%.",
    "0.2.15": "[10:00:00 TP0] Prefill batch. #new-seq: 1, #new-token: 10, #cached-token: 30, cache hit rate: 75.00%, #running-req: 4, #queue-req: 2",
    "0.4.0": "[2024-12-03 10:00:00 TP0] Prefill batch. #new-seq: 1, #new-token: 10, #cached-token: 30, cache hit rate: 75.00%, token usage: 0.01, #running-req: 4, #queue-req: 2",
    "0.4.9": "[2025-07-06 10:00:00] Prefill batch. #new-seq: 1, #new-token: 10, #cached-token: 30, token usage: 0.01, #running-req: 4, #queue-req: 2",
    "0.5.23": "[2026-10-30 10:00:00] Prefill batch, #new-seq: 1, #new-token: 10, #cached-token: 30, token usage: 0.01, #running-req: 4, #queue-req: 2, #pending-token: 0, cuda graph: False, input throughput (token/s): 900.00",
}  # fmt: skip


@pytest.mark.parametrize("line", DECODE.values(), ids=list(DECODE))
def test_decode_lines_of_every_wording(line: str) -> None:
    telemetry = added(line)
    assert (telemetry.decode, telemetry.prefill) == (1, 0)
    values = {name: telemetry.fields[name].mean for name in ("running", "queue", "token usage", "gen throughput")}
    assert values == {"running": 12, "queue": 3, "token usage": 0.55, "gen throughput": 800.5}


@pytest.mark.parametrize("line", PREFILL.values(), ids=list(PREFILL))
def test_prefill_lines_of_every_wording(line: str) -> None:
    telemetry = added(line)
    assert (telemetry.decode, telemetry.prefill) == (0, 1)
    assert telemetry.hit_ratio == 0.75
    assert (telemetry.fields["running"].mean, telemetry.fields["queue"].mean) == (4, 2)


def decode(
    second: int, throughput: float, usage: float = 0.5, queue: int = 0, graph: str = "True", rank: str = "TP0"
) -> str:
    return (
        f"[2026-10-30 10:{second // 60:02d}:{second % 60:02d} {rank}] Decode batch, #running-req: 1, #token: 9, token usage: "
        f"{usage}, cuda graph: {graph}, gen throughput (token/s): {throughput}, #queue-req: {queue}"
    )


def test_throughput_over_time_adds_up_the_data_parallel_ranks() -> None:
    telemetry = added(
        decode(0, 100, rank="DP0 TP0"), decode(0, 50, rank="DP1 TP0"), decode(1, 300, rank="DP0 TP0"), decode(3, 40)
    )  # fmt: skip
    assert telemetry.seconds == 3
    assert telemetry.series(10) == [150, 300, None, 40]
    assert telemetry.series(2) == [225, 40]


def test_a_long_log_keeps_its_shape() -> None:
    telemetry = Telemetry()
    for second in range(3000):
        telemetry.add(decode(second, 100 if second < 1500 else 300))
    assert telemetry.series(2) == [pytest.approx(100, abs=5), pytest.approx(300, abs=5)]


def test_a_chart_runs_from_nothing_to_the_largest() -> None:
    assert chart([0, 50, None, 100]) == "▁▅·█"
    assert chart([0, 0]) == "▁▁"


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ([decode(n, 100, usage=0.99) for n in range(10)], "--mem-fraction-static"),
        (["KV cache pool is full. Retract requests. #retracted_reqs: 1", decode(0, 100)], "--mem-fraction-static"),
        ([decode(n, 100, usage=0.3, queue=5) for n in range(10)], "--max-running-requests"),
        ([decode(n, 100, graph="False") for n in range(10)], "--cuda-graph-max-bs"),
        ([PREFILL["0.5.23"].replace("#cached-token: 30", "#cached-token: 0")] * 20, "--disable-radix-cache"),
    ],
)
def test_what_is_wrong_has_its_own_advice(lines: list[str], word: str) -> None:
    (advice,) = added(*lines).advice()
    assert word in advice


def test_a_healthy_server_gets_no_advice() -> None:
    assert added(*(decode(n, 100, usage=0.9, queue=5) for n in range(10)), *[PREFILL["0.5.23"]] * 30).advice() == []


def test_other_lines_are_left_alone() -> None:
    telemetry = added("The Decode batch is fine", "INFO: POST /generate 200 OK", "batch of 12: done")
    assert (telemetry.decode, telemetry.prefill, telemetry.fields) == (0, 0, {})
