"""One report that holds every kind of outcome, and texts that try to break out of each format."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sgldoctor.report.model import Check, Evidence, FilledFix, Finding, Report, Status
from sgldoctor.rules.model import Severity
from sgldoctor.snapshot import Known, Snapshot, Unknown

SECRETS = ("hf_abcdefghijklmnop", "u:pw", "sig=1", "alice")
HOSTILE = (
    'a|b `c` *d* __e__ 100% ]]></failure></details><x> & "q" {0} \\[y] a\rb\r\n::error::boo\x1b[31m\x9b31m\x00\ufffe'
    " caf\udce9 hf_abcdefghijklmnop https://u:pw@host/x?sig=1 /home/alice/v"
)

ROOT = Finding(
    id="torch-lacks-gpu-code",
    subject="torch",
    severity=Severity.ERROR,
    status=Status.FOUND,
    title="torch has no code for this GPU",
    message="torch 2.5.1 has no code for NVIDIA B200.",
    cause="This build stops at capability 9.0.",
    explained_by=None,
    evidence=(
        Evidence("torch: 2.5.1", "/home/alice/v/torch/METADATA"),
        Evidence("index 0, name NVIDIA B200", "nvml"),
    ),
    fixes=(
        FilledFix("Install a newer torch.", "~/v/bin/pip install 'torch==2.8.0'"),
        FilledFix("Or use another GPU.", None),
    ),
    references=("https://example.org/torch?page=2#gpus",),
    confirmed=True,
)
CONSEQUENCE = Finding(
    id="kernel-import-fails",
    subject="sgl-kernel",
    severity=Severity.WARNING,
    status=Status.FOUND,
    title="sgl_kernel cannot be imported",
    message="sgl_kernel cannot be imported",
    cause="It needs torch.",
    explained_by="torch-lacks-gpu-code",
    evidence=(),
    fixes=(FilledFix("Log in.", "export HF_TOKEN=hf_abcdefghijklmnop"),),
    references=(),
    confirmed=True,
)
NOTE = Finding(
    id="disk-nearly-full",
    subject="storage",
    severity=Severity.INFO,
    status=Status.FOUND,
    title="the disk is nearly full",
    message="1 GiB is free.",
    cause="Weights are large.",
    explained_by=None,
    evidence=(),
    fixes=(),
    references=(),
    confirmed=False,
)
UNJUDGED = Finding(
    id="driver-too-old",
    subject="driver",
    severity=Severity.ERROR,
    status=Status.UNKNOWN,
    title="the driver is too old",
    message="libnvidia-ml.so.1 is missing, 100% sure",
    cause="torch needs a newer driver.",
    explained_by=None,
    evidence=(),
    fixes=(),
    references=(),
    confirmed=True,
)

GPUS: list[dict[str, Any]] = [
    {"index": 0, "name": "NVIDIA B200", "capability": "10.0"},
    {"index": 1, "name": "NVIDIA B200", "capability": "10.0"},
    {"index": 2, "name": None, "capability": None},
]

SNAPSHOT = Snapshot(
    {
        "python.executable": Known("/home/alice/v/bin/python", "--venv"),
        "python.prefix": Known("/home/alice/v", "--venv"),
        "python.version": Known("3.12.3", "pyvenv.cfg"),
        "os.id": Known("ubuntu", "/etc/os-release"),
        "os.version": Unknown("/etc/os-release has no VERSION_ID"),
        "driver.version": Unknown("libnvidia-ml.so.1 is missing"),
        "gpus": Known(GPUS, "nvml"),
        "gpu.count": Known(3, "nvml"),
        "packages": Known(
            [
                {"name": "torch", "version": "2.5.1", "location": "/home/alice/v/lib"},
                {"name": "sglang", "version": "0.5.5", "location": "/home/alice/v/lib"},
            ],
            "/home/alice/v/lib",
        ),
        "package.torch": Known("2.5.1", "/home/alice/v/lib/torch-2.5.1.dist-info/METADATA"),
        "package.sglang": Known("0.5.5", "/home/alice/v/lib/sglang-0.5.5.dist-info/METADATA"),
        "variable.HF_TOKEN": Known("hf_abcdefghijklmnop", "environment"),
    }
)

REPORT = Report(
    version="0.1.0",
    rules_sha256="0123456789abcdef0123",
    snapshot=SNAPSHOT,
    checks=(
        Check("torch-lacks-gpu-code", "torch", Status.FOUND),
        Check("disk-nearly-full", "storage", Status.FOUND),
        Check("driver-too-old", "driver", Status.UNKNOWN),
        Check("kernel-import-fails", "sgl-kernel", Status.FOUND),
        Check("torch-on-musl", "torch", Status.NOT_APPLICABLE),
        Check("torch-too-old", "torch", Status.OK),
    ),
    findings=(ROOT, NOTE, UNJUDGED, CONSEQUENCE),
)

HEALTHY = replace(
    REPORT,
    checks=(
        Check("torch-on-musl", "torch", Status.NOT_APPLICABLE),
        Check("torch-too-old", "torch", Status.OK),
    ),
    findings=(),
)


def _hostile(finding: Finding) -> Finding:
    return replace(
        finding,
        title=HOSTILE,
        message=HOSTILE,
        cause=HOSTILE,
        evidence=(Evidence(HOSTILE, HOSTILE),),
        fixes=(FilledFix(HOSTILE, f"echo ```` {HOSTILE}"),),
    )


HOSTILE_REPORT = replace(
    REPORT,
    snapshot=SNAPSHOT.with_facts(
        {
            "python.prefix": Known(HOSTILE, HOSTILE),
            "driver.version": Unknown(HOSTILE),
            "packages": Known([{"name": HOSTILE, "version": "1"}], HOSTILE),
        }
    ),
    findings=tuple(_hostile(finding) for finding in REPORT.findings),
)
