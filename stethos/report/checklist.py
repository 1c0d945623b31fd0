"""What a reader of a prediction model study may expect to be told, item by item.

Numbers and applicability follow TRIPOD+AI; the words are ours and shorter, so a submission still needs the statement
itself. All 52 entries of its 27 items were compared with two transcriptions of the published checklist (the form of
11 January 2024), which agree with each other; the footnotes and the list for abstracts (item 2) were not.

Reference:
    Collins et al. 2024, BMJ 385:e078378, doi:10.1136/bmj-2023-078378.
"""

from __future__ import annotations

from collections.abc import Mapping

from stethos.errors import FormatError
from stethos.report.table import Table

UNFILLED = "NOT FILLED IN"

ITEMS = {
    "1": "Title: developing or evaluating a model, for whom, and which outcome",
    "2": "Abstract, by the statement's own list for abstracts",
    "3a": "Diagnosis or prognosis, why a model is needed, and which exist",
    "3b": "Whom it is for, where in their care, and who uses it",
    "3c": "Known inequalities in health between social groups",
    "4": "Aims: development, evaluation or both",
    "5a": "Sources of the data of each part, why these, and whom they represent",
    "5b": "First and last dates of recruitment, and of follow-up",
    "6a": "Setting, number and place of the sites",
    "6b": "Who was eligible",
    "6c": "Treatments received, and what was made of them",
    "7": "Preparation and quality checks of the data, and whether alike in all groups",
    "8a": "Outcome: definition, horizon, how and when measured, why this one, and whether alike in all groups",
    "8b": "Where judging the outcome is subjective: training and background of the judges",
    "8c": "Blinding of those who judged the outcome",
    "9a": "Which predictors were considered, why, and which were dropped beforehand",
    "9b": "Every predictor: definition, how and when measured, blinding",
    "9c": "Where judging a predictor is subjective: training and background of the judges",
    "10": "How the sample sizes came about, and why they are enough",
    "11": "Missing data: what was done, and why any were left out",
    "12a": "What each part of the data was used for",
    "12b": "Form and scaling of predictors",
    "12c": "Kind of model and why; building, tuning, internal validation",
    "12d": "Differences between sites or other clusters: how they were handled and measured",
    "12e": "Measures and plots of performance, why these, and how models were compared",
    "12f": "Updating of the model in evaluation, overall or for groups",
    "12g": "How predictions were computed in evaluation",
    "13": "Methods against class imbalance, why, and recalibration after them",
    "14": "Fairness: what was done, and why",
    "15": "Output of the model; classes and thresholds, and how they were found",
    "16": "Differences between development and evaluation: setting, eligibility, outcome, predictors",
    "17": "Ethical approval, and consent or its waiver",
    "18a": "Funding, and what the funders did",
    "18b": "Conflicts of interest",
    "18c": "Protocol: where it is, or that there is none",
    "18d": "Registration: where and under which number, or that there is none",
    "18e": "Access to the data",
    "18f": "Access to the code of the analysis",
    "19": "Involvement of patients and the public, or that there was none",
    "20a": "Flow of participants, with and without the outcome; follow-up",
    "20b": "Characteristics, overall, by source and by group: dates, predictors, treatments, events, missing data",
    "20c": "Evaluation against development data: predictors and outcome",
    "21": "Participants and events in every analysis, tuning included",
    "22": "The whole model, so that others can apply it, and what restricts its use",
    "23a": "Performance with intervals, also in key groups",
    "23b": "Differences in performance between sites or other clusters",
    "24": "Results of updating: the updated model and its performance",
    "25": "Interpretation, fairness and earlier work included",
    "26": "Limits, and what they do to bias, uncertainty and reach",
    "27a": "In use: how poor or missing input is noticed and handled",
    "27b": "In use: what users must do and know",
    "27c": "Next steps, and where else the model may hold",
}
DEVELOPMENT = frozenset({"9a", "12a", "12b", "12c", "15", "22", "27a", "27b"})
EVALUATION = frozenset({"12f", "12g", "20c", "24"})


def applies(item: str) -> str:
    """Which kind of study an item is asked of: "D" development, "E" evaluation, or "D; E" both."""
    return "D" if item in DEVELOPMENT else "E" if item in EVALUATION else "D; E"


def checklist(filled: Mapping[str, str], automatic: Mapping[str, str] | None = None) -> Table:
    """The list with what the report says to each item, and the others marked as not filled in.

    Args:
        filled: Item → statement by the authors; wins over `automatic`.
        automatic: Item → statement taken from the run.

    Raises:
        FormatError: There is no item of that number.
    """
    said = {**(automatic or {}), **filled}
    unknown = [item for item in said if item not in ITEMS]
    if unknown:
        raise FormatError(f"TRIPOD+AI has no item {', '.join(unknown)}; items are {', '.join(ITEMS)}")
    rows = [(item, applies(item), topic, said.get(item) or UNFILLED) for item, topic in ITEMS.items()]
    by_authors = sum(bool(filled.get(item)) for item in ITEMS)
    of_both = sum(statement != UNFILLED for *_, statement in rows)
    note = (
        f"{of_both} of {len(ITEMS)} items have a statement: {by_authors} by the authors, {of_both - by_authors} from "
        f"the run, which may not cover the whole item. D: asked of development, E: of evaluation. Wording shortened; "
        f"see doi:10.1136/bmj-2023-078378."
    )
    return Table(("item", "study", "topic", "in this report"), rows, "TRIPOD+AI items", note)
