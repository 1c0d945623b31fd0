"""What a reader of a prediction model study may expect to be told, item by item.

Numbers follow TRIPOD+AI; the words are ours and shorter, so a submission still needs the statement itself.

Reference:
    Collins et al. 2024, BMJ 385:e078378, doi:10.1136/bmj-2023-078378.
"""

from __future__ import annotations

from collections.abc import Mapping

from stethos.errors import FormatError
from stethos.report.table import Table

UNFILLED = "NOT FILLED IN"

ITEMS = {
    "1": "Title names the model, its population and its outcome",
    "2": "Structured abstract",
    "3a": "Setting in health care, and why a model is needed",
    "3b": "Whom it is for, and where in the care of a patient",
    "3c": "Known inequalities in health between groups",
    "4": "Aims: development, evaluation or both",
    "5a": "Sources of the data, and whom they represent",
    "5b": "Dates of the data",
    "6a": "Setting, number and place of the sites",
    "6b": "Who was eligible",
    "6c": "Treatments received",
    "7": "Preparation and quality checks of the data",
    "8a": "Outcome: definition, time, and how it was measured",
    "8b": "Who judged the outcome, where judgement was needed",
    "8c": "Blinding of that judgement",
    "9a": "Choice of predictors",
    "9b": "Definition and measurement of predictors",
    "9c": "Who judged predictors, where judgement was needed",
    "10": "How the sample size came about",
    "11": "Missing data",
    "12a": "How the data were divided and used",
    "12b": "Form and scaling of predictors",
    "12c": "Kind of model, building, tuning, internal validation",
    "12d": "Differences between sites or clusters",
    "12e": "Measures of performance and why these",
    "12f": "Updating of the model in evaluation",
    "12g": "How predictions were computed in evaluation",
    "13": "Class imbalance, and recalibration after it",
    "14": "Fairness: what was done, and why",
    "15": "Output of the model, and thresholds",
    "16": "Differences between training and evaluation data",
    "17": "Ethical approval and consent",
    "18a": "Funding",
    "18b": "Conflicts of interest",
    "18c": "Protocol",
    "18d": "Registration",
    "18e": "Access to the data",
    "18f": "Access to the code",
    "19": "Involvement of patients and the public",
    "20a": "Flow of participants, with and without the outcome",
    "20b": "Characteristics of participants, with missing data",
    "20c": "Characteristics of evaluation against development data",
    "21": "Participants and events in every analysis",
    "22": "The whole model, so that others can apply it",
    "23a": "Performance with intervals, also in subgroups",
    "23b": "Performance between sites or clusters",
    "24": "Results of updating",
    "25": "Interpretation, fairness included",
    "26": "Limits",
    "27a": "What happens with poor or missing input",
    "27b": "Who handles input and output, and what they must know",
    "27c": "Next steps, and where else it may hold",
}


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
    rows = [(item, topic, said.get(item) or UNFILLED) for item, topic in ITEMS.items()]
    done = sum(statement != UNFILLED for _, _, statement in rows)
    note = f"{done} of {len(ITEMS)} items filled in. Wording shortened; see doi:10.1136/bmj-2023-078378."
    return Table(("item", "topic", "in this report"), rows, "TRIPOD+AI items", note)
