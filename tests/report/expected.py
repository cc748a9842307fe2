"""What each format has to say about the sick machine, written by hand."""

from __future__ import annotations

from typing import TypeAlias

Tree: TypeAlias = "tuple[str, dict[str, str], str, list[Tree]]"

JSON_BUT_FACTS_AND_FINDINGS = {
    "schema_version": 1,
    "tool": {"version": "0.1.0", "rules_sha256": "0123456789abcdef0123"},
    "target": {"python": "~/v/bin/python", "prefix": "~/v", "chosen_because": None, "others": None},
    "verdict": "error",
    "checks": [
        {"id": "disk-nearly-full", "subject": "storage", "status": "found"},
        {"id": "driver-too-old", "subject": "driver", "status": "unknown"},
        {"id": "kernel-import-fails", "subject": "sgl-kernel", "status": "found"},
        {"id": "torch-lacks-gpu-code", "subject": "torch", "status": "found"},
        {"id": "torch-on-musl", "subject": "torch", "status": "not_applicable"},
        {"id": "torch-too-old", "subject": "torch", "status": "ok"},
    ],
    "summary": {
        "checks": 6,
        "ok": 1,
        "found": 3,
        "unknown": 1,
        "not_applicable": 1,
        "errors": 1,
        "warnings": 1,
        "infos": 1,
    },
}

JSON_ERROR = {
    "id": "torch-lacks-gpu-code",
    "subject": "torch",
    "severity": "error",
    "status": "found",
    "title": "torch has no code for this GPU",
    "message": "torch 2.5.1 has no code for NVIDIA B200.",
    "cause": "This build stops at capability 9.0.",
    "explained_by": None,
    "confirmed": True,
    "evidence": [
        {"what": "torch: 2.5.1", "where": "~/v/torch/METADATA"},
        {"what": "index 0, name NVIDIA B200", "where": "nvml"},
    ],
    "fixes": [
        {"text": "Install a newer torch.", "command": "~/v/bin/pip install 'torch==2.8.0'"},
        {"text": "Or use another GPU.", "command": None},
    ],
    "references": ["https://example.org/torch?page=2#gpus"],
}

JUNIT_ERROR = """\
torch has no code for this GPU
Why: This build stops at capability 9.0.
Seen: torch: 2.5.1 (~/v/torch/METADATA)
Seen: index 0, name NVIDIA B200 (nvml)
Fix: Install a newer torch.
    ~/v/bin/pip install 'torch==2.8.0'
Fix: Or use another GPU."""

JUNIT_WARNING = """\
sgl_kernel cannot be imported
Why: It needs torch.
Explained by: torch-lacks-gpu-code
Fix: Log in.
    export HF_TOKEN=***"""

JUNIT_INFO = """\
1 GiB is free.
the disk is nearly full
Why: Weights are large."""


def _counts(tests: int, failures: int, skipped: int) -> dict[str, str]:
    return {"tests": str(tests), "failures": str(failures), "errors": "0", "skipped": str(skipped)}


def _suite(subject: str, counts: dict[str, str], *cases: tuple[str, list[Tree]]) -> Tree:
    inner: list[Tree] = [("testcase", {"classname": subject, "name": name}, "", body) for name, body in cases]
    return ("testsuite", {"name": subject, **counts}, "", inner)


JUNIT: Tree = (
    "testsuites",
    {"name": "sgldoctor", **_counts(6, 2, 2)},
    "",
    [
        _suite(
            "driver",
            _counts(1, 0, 1),
            ("driver-too-old", [("skipped", {"message": "libnvidia-ml.so.1 is missing, 100% sure"}, "", [])]),
        ),
        _suite("storage", _counts(1, 0, 0), ("disk-nearly-full", [("system-out", {}, JUNIT_INFO, [])])),
        _suite(
            "torch",
            _counts(3, 1, 1),
            (
                "torch-lacks-gpu-code",
                [
                    (
                        "failure",
                        {"type": "error", "message": "torch 2.5.1 has no code for NVIDIA B200."},
                        JUNIT_ERROR,
                        [],
                    )
                ],
            ),
            ("torch-on-musl", [("skipped", {"message": "not applicable"}, "", [])]),
            ("torch-too-old", []),
        ),
        _suite(
            "sgl-kernel",
            _counts(1, 1, 0),
            (
                "kernel-import-fails",
                [
                    (
                        "failure",
                        {"type": "warning", "message": "sgl_kernel cannot be imported"},
                        JUNIT_WARNING,
                        [],
                    )
                ],
            ),
        ),
    ],
)

JUNIT_HOSTILE_MESSAGE = (
    'a|b `c` *d* __e__ 100% ]]></failure></details><x> & "q" {0} \\[y] a\nb\n::error::boo[31m31m'
    " caf *** https://***@host/x?*** ~/v"
)

SARIF_RULE = {
    "id": "torch-lacks-gpu-code",
    "shortDescription": {"text": "torch has no code for this GPU"},
    "fullDescription": {"text": "This build stops at capability 9.0."},
    "help": {"text": "This build stops at capability 9.0.\nSee: https://example.org/torch?page=2#gpus"},
    "defaultConfiguration": {"level": "error"},
    "properties": {"tags": ["torch"]},
}

SARIF_ERROR = """\
torch 2.5.1 has no code for NVIDIA B200.
Seen: torch: 2.5.1 (~/v/torch/METADATA)
Seen: index 0, name NVIDIA B200 (nvml)
Fix: Install a newer torch.
~/v/bin/pip install 'torch==2.8.0'
Fix: Or use another GPU."""

SARIF_WARNING = """\
sgl_kernel cannot be imported
Explained by: torch-lacks-gpu-code
Fix: Log in.
export HF_TOKEN=***"""

SARIF_LOCATION = {
    "physicalLocation": {
        "artifactLocation": {"uri": "environment"},
        "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 2},
    },
    "logicalLocations": [{"name": "~/v", "kind": "environment"}],
}

# Every line break within a command is %0A; here it is shown as a line break and four spaces.
GITHUB = """\
::error title=torch has no code for this GPU::torch 2.5.1 has no code for NVIDIA B200.
    Why: This build stops at capability 9.0.
    Seen: torch: 2.5.1 (~/v/torch/METADATA)
    Seen: index 0, name NVIDIA B200 (nvml)
    Fix: Install a newer torch.
    ~/v/bin/pip install 'torch==2.8.0'
    Fix: Or use another GPU.
::warning title=sgl_kernel cannot be imported::sgl_kernel cannot be imported
    Why: It needs torch.
    Explained by: torch-lacks-gpu-code
    Fix: Log in.
    export HF_TOKEN=***
::notice title=the disk is nearly full::1 GiB is free.
    Why: Weights are large.
::notice title=sgldoctor could not judge 1::driver-too-old: libnvidia-ml.so.1 is missing, 100%25 sure
"""

MARKDOWN = """\
### sgldoctor 0.1.0: error

errors: 1, warnings: 1, notes: 1, not judged: 1, ok: 1, not applicable: 1 (rules 0123456789ab)

| Fact | Value |
| --- | --- |
| OS | ubuntu; unknown: /etc/os-release has no VERSION_ID |
| OS kernel | unknown: nothing looked at this |
| C library | unknown: nothing looked at this |
| CPU | unknown: nothing looked at this |
| Container | unknown: nothing looked at this |
| Driver | unknown: libnvidia-ml.so.1 is missing |
| GPUs | 2 x NVIDIA B200 (10.0), 1 x unnamed (capability unknown) |
| Python | 3.12.3 |
| Environment | \\~/v |
| sglang | 0.5.5 |
| torch | 2.5.1 |
| CUDA of torch | unknown: nothing looked at this |
| Kernels | unknown: nothing looked at this |
| flashinfer | none |
| transformers | none |

#### error: torch has no code for this GPU (torch-lacks-gpu-code)

**What:** torch 2.5.1 has no code for NVIDIA B200.

**Why:** This build stops at capability 9.0.

**Seen:**

- torch: 2.5.1 (\\~/v/torch/METADATA)
- index 0, name NVIDIA B200 (nvml)

**Fix:** Install a newer torch.

```sh
~/v/bin/pip install 'torch==2.8.0'
```

**Fix:** Or use another GPU.

#### warning: sgl_kernel cannot be imported (kernel-import-fails)

**Why:** It needs torch.

**Explained by:** torch-lacks-gpu-code

**Fix:** Log in.

```sh
export HF_TOKEN=***
```

#### info, unconfirmed: the disk is nearly full (disk-nearly-full)

**What:** 1 GiB is free.

**Why:** Weights are large.

<details>
<summary>Could not be judged: 1</summary>

- the driver is too old (driver-too-old): libnvidia-ml.so.1 is missing, 100% sure

</details>

<details>
<summary>Packages: 2</summary>

```text
sglang==0.5.5
torch==2.5.1
```

</details>
"""

MARKDOWN_HOSTILE_PROSE = (
    'a\\|b \\`c\\` \\*d\\* \\_\\_e\\_\\_ 100% ]]>\\</failure>\\</details>\\<x> & "q" {0}'
    " \\\\\\[y] a b ::error::boo\\[31m31m\ufffe caf \\*\\*\\* https://\\*\\*\\*@host/x?\\*\\*\\* \\~/v"
)
