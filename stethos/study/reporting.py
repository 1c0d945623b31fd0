"""What a run itself says to the items of TRIPOD+AI; the rest is for its authors."""

from __future__ import annotations

from typing import Any

import numpy as np

from stethos.report.checklist import checklist
from stethos.report.page import Section
from stethos.report.words import decimal
from stethos.study.evidence import Evidence
from stethos.train.run import read_config


def reporting(evidence: Evidence, filled: dict[str, str]) -> Section:
    """The list with what the run and its authors say.

    Args:
        evidence: Of the run.
        filled: Item → statement by the authors; wins over what the run says.

    Raises:
        FormatError: `filled` names an item that there is not.
    """
    recipe = read_config(evidence.run)["recipe"]
    said = {**_data(evidence, recipe), **_methods(evidence, recipe), **_results(evidence), **_sites(evidence)}
    return Section("Reporting items", [checklist(filled, {item: words for item, words in said.items() if words})])


def _data(evidence: Evidence, recipe: dict[str, Any]) -> dict[str, str]:
    """Whom and what the numbers are from."""
    return {
        "7": f"Preparation {recipe.get('prepare', '')}; refused recordings are counted in the first section.",
        "8a": f"{recipe.get('target', '')}." if recipe.get("target") else "",
        "9a": f"ECG lead {recipe.get('lead', '')} alone; none was dropped.",
        "9b": f"Voltage of lead {recipe.get('lead', '')} over time, in windows of the preparation.",
        "11": "Section on missing data.",
        "12a": "Cohort flow; the parts are disjoint by subject.",
        "20a": f"Cohort flow; {len(evidence.said):,} scored records, with the event as in their characteristics.",
        "20b": "Characteristics of the records; section on missing data.",
        "20c": "Characteristics of the records, by part.",
        "21": "Characteristics of the records for every part; n and events beside every number.",
    }


def _methods(evidence: Evidence, recipe: dict[str, Any]) -> dict[str, str]:
    """How the model was made, and how it answers."""
    aim = f"{evidence.operate.operate_at} {evidence.operate.operate_level:g}"
    return {
        "12b": f"Preparation {recipe.get('prepare', '')}: filtered, resampled and standardised window by window.",
        "12c": "Network and recipe in config.json; section on training; the validation part chose the step.",
        "12e": "Sections on discrimination (controls included), operating point, calibration and usefulness.",
        "12g": "Mean logit over usable windows and over seeds.",
        "13": "No resampling and no class weights.",
        "15": f"Probability; threshold {decimal(evidence.threshold, 3)} (logit) from the validation part, for {aim}.",
        "18f": "Analysis by Stethos, Apache-2.0; version at the head of this page.",
        "22": "Weights, recipe and preparation in the run's folder; terms of the data in the model card.",
        "27a": "Section on intended use, and error against coverage.",
    }


def _results(evidence: Evidence) -> dict[str, str]:
    """Where the numbers stand; updating only where a part other than the internal one was tested."""
    said = {"23a": "Every number with its interval; section on subgroups."}
    if any(split != "internal" for split in evidence.splits):
        said["12f"] = "Slope and intercept refitted on every tested part but the internal one, cross-fitted by subject."
        said["24"] = "Section on recalibration on the other cohort."
    return said


def _sites(evidence: Evidence) -> dict[str, str]:
    """What is said of sites, where they are known."""
    if "site" not in evidence.said.facts:
        return {}
    sites = np.unique(evidence.said.facts["site"].astype(str))
    if len(sites) < 2:
        return {"6a": "1 site."}
    apart = "Area under the ROC curve by site, in the section on subgroups."
    return {"6a": f"{len(sites)} sites: {', '.join(sites)}.", "12d": apart, "23b": apart}
