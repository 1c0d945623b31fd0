"""How each writer of the echo laboratory arranges what is to be said, and how letters slip.

0 prose         English sentences, the conclusion last
1 telegraphic   English abbreviations, one line and an impression
2 headed        English with headings: indication, measurements, findings, impression
3 Chinese       超声所见 and 超声提示
4 terse Chinese a numbered list, numbers behind it
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

LANGUAGES = ("english", "short", "english", "chinese", "chinese")
_CONFUSED = {"房": "防", "瓣": "办", "狭": "夹", "增": "曾", "厚": "后"}


def laid_out(
    writer: int,
    asked: list[str],
    findings: list[str],
    numbers: list[str],
    conclusion: list[str],
    rng: np.random.Generator,
) -> str:
    """A report.

    Args:
        writer: Which of the five.
        asked: History and question.
        findings: What was seen, in the order of the chambers; some writers change it.
        numbers: With names and units.
        conclusion: In order of importance.
        rng: Of what is left to taste.
    """
    return _LAYOUTS[writer](asked, findings, numbers, conclusion, rng)


def slipped(text: str, rng: np.random.Generator) -> str:
    """The text with one slip: two letters exchanged or one lost in a long word, or a character confused."""
    places = [place for place, letter in enumerate(text) if letter in _CONFUSED]
    if places:
        place = places[int(rng.random() * len(places))]
        return text[:place] + _CONFUSED[text[place]] + text[place + 1 :]
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 6 and word.isalpha()]
    if not long:
        return text
    place = long[int(rng.random() * len(long))]
    word, at = words[place], 1 + int(rng.random() * (len(words[place]) - 3))
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    words[place] = swapped if rng.random() < 0.6 else word[:at] + word[at + 1 :]
    return " ".join(words)


def _prose(
    asked: list[str], findings: list[str], numbers: list[str], conclusion: list[str], rng: np.random.Generator
) -> str:
    seen = _sentences(_shuffled(findings, rng))
    measured = _sentences([", ".join(numbers)]) if numbers else ""
    middle = [measured, seen] if rng.random() < 0.4 else [seen, measured]
    opening = ("In conclusion: ", "Conclusion: ", "Summary: ")[int(3 * rng.random())]
    return " ".join(
        part for part in (_sentences(asked), *middle, opening + _sentences(["; ".join(conclusion)])) if part
    )


def _telegraphic(
    asked: list[str], findings: list[str], numbers: list[str], conclusion: list[str], rng: np.random.Generator
) -> str:
    between = ("; ", ". ", ", ")[int(3 * rng.random())]
    seen = _shuffled(findings, rng)
    line = between.join(asked + (numbers + seen if rng.random() < 0.6 else seen + numbers))
    opening = ("IMP: ", "Imp: ", "Dx: ")[int(3 * rng.random())]
    return f"{line}\n{opening}{', '.join(conclusion) if between != ', ' else '; '.join(conclusion)}"


def _headed(
    asked: list[str], findings: list[str], numbers: list[str], conclusion: list[str], rng: np.random.Generator
) -> str:
    upper = rng.random() < 0.6
    names = ("Indication", "Measurements", "Findings", "Impression" if rng.random() < 0.6 else "Conclusion")
    parts = [
        _sentences(asked),
        ", ".join(numbers),
        "\n".join("- " + _sentences([finding]) for finding in findings),
        "\n".join(f"{place}. {_sentences([item])}" for place, item in enumerate(conclusion, 1)),
    ]
    titles = [name.upper() if upper else name for name in names]
    blocks = [f"{title}:\n{part}" for title, part in zip(titles, parts, strict=True) if part]
    if rng.random() < 0.15:
        blocks.insert(0, blocks.pop())  # some put the conclusion first
    return "\n\n".join(blocks)


def _chinese(
    asked: list[str], findings: list[str], numbers: list[str], conclusion: list[str], rng: np.random.Generator
) -> str:
    first = ["，".join(numbers)] if numbers else []
    seen = first + findings if rng.random() < 0.6 else findings + first
    said = "。".join(asked) + "。\n" if asked else ""
    listed = "\n".join(f"{place}. {item}" for place, item in enumerate(conclusion, 1))
    return f"{said}超声所见：\n{'。'.join(seen)}。\n超声提示：\n{listed}"


def _terse_chinese(
    asked: list[str], findings: list[str], numbers: list[str], conclusion: list[str], rng: np.random.Generator
) -> str:
    denied = [item for item in findings if item not in conclusion][: int(4 * rng.random())]
    listed = "；".join(f"{place}.{item}" for place, item in enumerate(conclusion, 1))
    parts = [*asked, *denied, "，".join(numbers)]
    return "；".join(part for part in parts if part) + ("\n" if any(parts) else "") + f"提示：{listed}"


_LAYOUTS = (_prose, _telegraphic, _headed, _chinese, _terse_chinese)


def _sentences(parts: list[str]) -> str:
    """Each with a capital and a full stop."""
    return " ".join(part[0].upper() + part[1:] + "." for part in parts if part)


def _shuffled(parts: list[str], rng: np.random.Generator) -> list[str]:
    """Neighbours change places now and then."""
    order = list(parts)
    for left, right in pairwise(range(len(order))):
        if rng.random() < 0.3:
            order[left], order[right] = order[right], order[left]
    return order
