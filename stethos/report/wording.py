"""What a report calls what it is about: people whose signals were recorded, or machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stethos.types import Origin


@dataclass(frozen=True)
class Wording:
    """The words of a page and of a model card that depend on what they are about.

    Args:
        warning: What it must not be used for, under the title of a page.
        card_warning: The same on a model card.
        foot: The same in a few words, at the foot of every sheet.
        measured_on: "synthetic" or "generated" → what such numbers were measured on.
        no_evidence: What numbers of no real origin are no evidence about.
        origins: Origin → what a card says of it.
        intervals: What is counted and drawn anew for intervals, at the foot of a page.
        units: What a recording and its source are called in a flow of recordings.
    """

    warning: str
    card_warning: str
    foot: str
    measured_on: Mapping[str, str]
    no_evidence: str
    origins: Mapping[Origin, str]
    intervals: str
    units: tuple[str, str]


PEOPLE = Wording(
    warning="Research software. Not a medical device: it must not guide the care of a patient.",
    card_warning="This is research software. It is not a medical device and must not guide the care of a patient.",
    foot="Not a medical device",
    measured_on={"synthetic": "simulated records", "generated": "records made by a model"},
    no_evidence="people",
    origins={
        "real": "Records of real subjects.",
        "synthetic": "Synthetic: simulated subjects with known truth. No number here is evidence about people.",
        "generated": "Generated: records made by a model from others. No number here is evidence about people.",
    },
    intervals="subjects, not records, are resampled",
    units=("records", "subjects"),
)

MACHINES = Wording(
    warning="Research software. Not a safety function: nobody's safety may rest on what it hears or misses.",
    card_warning="This is research software. It is not a safety function: nobody's safety may rest on it.",
    foot="Not a safety function",
    measured_on={"synthetic": "simulated machines", "generated": "recordings made by a model"},
    no_evidence="real machines",
    origins={
        "real": "Recordings of real machines.",
        "synthetic": "Synthetic: simulated machines with known truth. No number here is evidence about real machines.",
        "generated": "Generated: recordings made by a model. No number here is evidence about real machines.",
    },
    intervals="source recordings are resampled; n counts them, and events the anomalous ones",
    units=("recordings", "sources"),
)
