from __future__ import annotations

import pytest

from sgldoctor.redact import Redactor, is_secret_name


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://alice:s3cret@host/simple", "https://***@host/simple"),
        ("https://host/x.whl?sig=abc&exp=1", "https://host/x.whl?***"),
        ("git+ssh://tok3n@host/repo", "git+ssh://***@host/repo"),
        ("token hf_abcdefghijklmnop end", "token *** end"),
        ("sk-abcdefghijklmnopqrst", "***"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ***"),
        ("--api-key abc123def", "--api-key ***"),
        ("HF_TOKEN=abc123def", "HF_TOKEN=***"),
        ("<process_name>python3 -m x --api-key=zzz</process_name>", "<process_name>python3</process_name>"),
        ("torch==2.8.0+cu128", "torch==2.8.0+cu128"),
        ("tokenizers 0.22.1, token usage: 0.99", "tokenizers 0.22.1, token usage: 0.99"),
    ],
)
def test_secrets_are_hidden_by_their_shape_and_nothing_else_is(text: str, clean: str) -> None:
    assert Redactor().text(text) == clean


def test_values_of_secret_variables_are_hidden_wherever_they_stand() -> None:
    redactor = Redactor(
        {"MY_API_KEY": "open sesame", "WANDB_TOKEN": "true", "PATH": "/usr/bin", "SSH_AUTH_SOCK": "/run/x"}
    )
    assert redactor.text("said open sesame: true, /usr/bin, /run/x") == "said ***: true, /usr/bin, /run/x"


def test_homes_are_hidden_in_values_and_keys_stay() -> None:
    redactor = Redactor({"HOME": "/data/people/bob"})
    assert redactor.values({"/home/alice": ["/home/alice/.venv", "/data/people/bob/x", "/data/people/bobby"]}) == {
        "/home/alice": ["~/.venv", "~/x", "/data/people/bobby"]
    }


def test_a_recording_keeps_only_known_variables_and_names_homes_alike() -> None:
    recording = {
        "scope": {"venv": "/home/alice/.venv"},
        "questions": {
            "environ": {
                "[]": {"answer": {"HF_TOKEN": "x1y2z3", "CUDA_HOME": "/home/alice/cuda", "SECRET_PLAN": "invade"}}
            },
            "read_text": {"/home/alice/a": {"answer": "see /home/alice/b and https://u:p@h/"}},
        },
    }
    assert Redactor().recording(recording) == {
        "scope": {"venv": "/home/user/.venv"},
        "questions": {
            "environ": {"[]": {"answer": {"HF_TOKEN": "***", "CUDA_HOME": "/home/user/cuda"}}},
            "read_text": {"/home/user/a": {"answer": "see /home/user/b and https://***@h/"}},
        },
    }


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "SGLANG_API_KEY", "PGPASSWORD", "BASIC_AUTH"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["CUDA_HOME", "TOKENIZERS_PARALLELISM", "MONKEY_PATCH", "SGLANG_PORT"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)
