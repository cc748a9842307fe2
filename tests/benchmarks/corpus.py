"""How well `explain` does on labelled texts.

    python -m tests.benchmarks.corpus dev.jsonl

Each line of the file is a JSON object: id, text, kind (positive, benign, unrelated); positives also have cause_class
and expect, a list of groups of words: the answer must hold one of each. Words quoted from the text do not count.
Prints every miss, then which causes each wrong or overloaded answer was given for, then the figures.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgldoctor.explain.answer import Explainer
from sgldoctor.rules.book import open_book

if TYPE_CHECKING:
    from sgldoctor.explain.model import Explanation, Match

MOST_CAUSES = 5
"""An answer given for more causes than this is a catch-all."""
_WANTED = {"benign": ("benign",), "unrelated": ("unknown",)}


def words(match: Match) -> str:
    """Return an answer in the tool's own words."""
    fixes = " ".join(f"{fix.text} {fix.command or ''}" for fix in match.fixes)
    return f"{match.id} {match.title} {match.message} {match.cause} {fixes}".lower()


def miss(case: dict[str, Any], explanation: Explanation) -> str | None:
    """Return what is wrong with an answer, or None."""
    said = explanation.meaning.value
    first = explanation.matches[0].id if explanation.matches else "nothing"
    if case["kind"] != "positive":
        near_miss = case["id"].startswith("n")  # the author's own near misses: harmless or unknown
        wanted = ("benign", "unknown") if near_miss else _WANTED[case["kind"]]
        return None if said in wanted else f"{said}: {first}"
    if said != "explained":
        return said
    text = words(explanation.matches[0])
    lacking = [group for group in case["expect"] if not any(word.lower() in text for word in group)]
    return f"{first} lacks {lacking}" if lacking else None


def main() -> None:
    """Judge every text of a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    cases = [json.loads(line) for line in parser.parse_args().corpus.read_text(encoding="utf-8").splitlines()]
    explainer = Explainer(open_book()).prepare()
    answers = [explainer.explain_text(case["text"]) for case in cases]
    causes: defaultdict[str, set[str]] = defaultdict(set)
    for case, answer in zip(cases, answers, strict=True):
        if case["kind"] == "positive" and answer.matches:
            causes[answer.matches[0].id].add(case["cause_class"])
    total: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for case, answer in zip(cases, answers, strict=True):
        wrong = miss(case, answer)
        if wrong is None and case["kind"] == "positive" and len(causes[answer.matches[0].id]) > MOST_CAUSES:
            wrong = f"{answer.matches[0].id} is a catch-all"
        total[case["kind"]] += 1
        right[case["kind"]] += wrong is None
        if wrong is not None:
            print(f"{case['id']:<8}{case['kind']:<10}{case.get('cause_class', ''):<40}{wrong}")  # noqa: T201
    for identity, classes in sorted(causes.items()):
        if len(classes) > 1:
            print(f"{identity} answers for: {', '.join(sorted(classes))}")  # noqa: T201
    for kind in sorted(total):
        print(f"{kind}: {right[kind]} of {total[kind]} ({right[kind] / total[kind]:.1%})")  # noqa: T201


if __name__ == "__main__":
    main()
