"""`python -m tests.findings.score open|sealed|fresh`: agreement with the labelled sentences, as numbers only."""

import json
import sys
from pathlib import Path

from stethos.text.agreement import Agreement, agreement, table
from stethos.text.findings import load_lexicon, read_report


def score(name: str, language: str = "") -> list[Agreement]:
    """Agreement on one file of this folder, or on its sentences in one language."""
    rows = [
        json.loads(row) for row in Path(__file__).with_name(f"{name}.jsonl").read_text(encoding="utf8").splitlines()
    ]
    rows = [row for row in rows if not language or row["language"] == language]
    lexicon = load_lexicon(preset="all")
    said = [{key: found.value for key, found in read_report(row["text"], lexicon).labels.items()} for row in rows]
    return agreement([row["labels"] for row in rows], said, list(lexicon.concepts))


if __name__ == "__main__":
    for part in ("", "en", "zh"):
        print(part or "both languages")
        print(table(score(sys.argv[1], part)))
