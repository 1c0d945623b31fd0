"""What an echocardiogram measures, which label it defines, and which way an output should go with it.

The signs are physiology, written down before any output was seen: a chamber that is larger, or a valve that is
narrower, should raise the outputs named after it and after what it leads to.

Reference:
    Lang et al. 2015, doi:10.1016/j.echo.2014.10.003 (chambers); Baumgartner et al. 2009, doi:10.1016/j.echo.2008.11.029
    (valves).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CHAMBERS = ("la", "lv", "ra", "rv")


@dataclass(frozen=True)
class Measurement:
    """A column of measured values.

    Args:
        column: Its name among the facts.
        words: What it is, for people.
        unit: Of the column.
        defines: Labels that are a limit on it, in small letters; the first that the model has is its own.
        signs: Label in small letters → 1 where a higher value should go with a higher output, −1 with a lower one.
    """

    column: str
    words: str
    unit: str
    defines: Sequence[str]
    signs: Mapping[str, int]

    def own(self, names: Sequence[str]) -> str | None:
        """The label among `names`, in capitals or not, that it defines; None where there is none."""
        there = {name.lower(): name for name in reversed(names)}
        return next((there[label] for label in self.defines if label in there), None)

    def sign(self, label: str) -> int | None:
        """Which way the output of a label should go with it; None where nothing is expected."""
        return self.signs.get(label.lower())


MEASUREMENTS = (
    Measurement(
        "lvef",
        "LV ejection fraction",
        "%",
        ("lv_systolic_reduced",),
        {"lv_systolic_reduced": -1, "regional_wall_motion": -1, "global_enlargement": -1},
    ),
    Measurement("wall_thickness", "LV wall thickness", "mm", ("lv_wall_thickening",), {"lv_wall_thickening": 1}),
    Measurement(
        "la_diameter",
        "LA diameter",
        "mm",
        ("la_enlargement",),
        {"la_enlargement": 1, "global_enlargement": 1, "mitral_stenosis": 1},
    ),
    Measurement(
        "lvedd",
        "LV end-diastolic diameter",
        "mm",
        ("lv_enlargement",),
        {"lv_enlargement": 1, "global_enlargement": 1, "lv_systolic_reduced": 1},
    ),
    Measurement(
        "rv_diameter",
        "RV basal diameter",
        "mm",
        ("right_heart_enlargement",),
        {"right_heart_enlargement": 1, "global_enlargement": 1},
    ),
    Measurement(
        "pasp",
        "PA systolic pressure",
        "mmHg",
        ("pulmonary_hypertension", "right_heart_enlargement"),
        {"pulmonary_hypertension": 1, "right_heart_enlargement": 1},
    ),
    Measurement("aorta_diameter", "Aortic diameter", "mm", ("aortic_dilation",), {"aortic_dilation": 1}),
    Measurement("mitral_area", "Mitral valve area", "cm²", ("mitral_stenosis",), {"mitral_stenosis": -1}),
    Measurement("aortic_velocity", "Aortic jet velocity", "m/s", ("aortic_stenosis",), {"aortic_stenosis": 1}),
)


def short_words(name: str) -> str:
    """A label's own name for people, short enough for a figure; the letters of chambers stay large."""
    parts = name.lower().split("_")
    return " ".join(part.upper() if part in CHAMBERS else part for part in parts)
