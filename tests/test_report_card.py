import pytest

from stethos.errors import FormatError
from stethos.report import card
from stethos.report.checklist import ITEMS, UNFILLED, applies, checklist
from stethos.report.wording import MACHINES, PEOPLE
from stethos.types import Estimate


def test_a_heading_without_an_entry_is_said_to_be_missing():
    text = card.markdown("Pocket-K", "real", {"what": "A network."})
    assert "## What it is\n\nA network." in text
    assert text.count(card.UNSTATED) == len(card.HEADINGS) - 1


def test_a_result_stands_with_interval_origin_and_number_of_subjects():
    text = card.markdown("K", "synthetic", {"results": {"AUROC": Estimate(0.9, 0.8, 0.95, 40, 9)}})
    assert "| AUROC | 0.900 (0.800 to 0.950) | n 40, 9 events |" in text
    assert "value (synthetic)" in text
    assert PEOPLE.origins["synthetic"] in text


def test_a_name_cannot_break_out_of_its_cell_or_line():
    text = card.markdown("K\n# Approved", "real", {"results": {"a|b\n<script>": Estimate(0.9, 0.8, 0.95, 4)}})
    assert "# K # Approved\n" in text
    assert "| a\\|b &lt;script> |" in text


def test_every_origin_is_explained_and_no_card_lacks_the_warning():
    for origin in ("real", "synthetic", "generated"):
        for wording in (PEOPLE, MACHINES):
            assert f"**{wording.card_warning}**" in card.markdown("K", origin, {}, wording)
            assert [wording.card_warning, wording.origins[origin]] == card.section(origin, {}, wording).blocks[:2]


def test_the_section_holds_what_the_card_holds():
    area = Estimate(0.9, 0.8, 0.95, 40)
    limits = ["small.", "one site."]
    section = card.section("real", {"results": {"AUROC": area}, "limits": limits, "house rule": "none"})
    results, statements = section.blocks[-2:]
    assert results.rows == [("AUROC", area)]
    assert ("Limits", "small; one site.") in statements.rows
    assert statements.rows[-1] == ("house rule", "none")


def test_the_checklist_marks_what_is_not_filled_in():
    table = checklist({"17": "approved"}, {"17": "overruled", "5a": "the archive"})
    said = {item: statement for item, *_, statement in table.rows}
    assert said["17"] == "approved"
    assert said["5a"] == "the archive"
    assert list(said.values()).count(UNFILLED) == len(ITEMS) - 2
    assert table.note.startswith(f"2 of {len(ITEMS)} items have a statement: 1 by the authors, 1 from the run")


def test_the_checklist_has_the_numbers_letters_and_studies_of_its_source():
    letters = {3: "c", 5: "b", 6: "c", 8: "c", 9: "c", 12: "g", 18: "f", 20: "c", 23: "b", 27: "c"}
    want = []
    for number in range(1, 28):
        last = letters.get(number)
        want += [f"{number}{chr(code)}" for code in range(ord("a"), ord(last) + 1)] if last else [str(number)]
    assert list(ITEMS) == want
    assert len(want) == 52
    assert [item for item in ITEMS if applies(item) == "D"] == ["9a", "12a", "12b", "12c", "15", "22", "27a", "27b"]
    assert [item for item in ITEMS if applies(item) == "E"] == ["12f", "12g", "20c", "24"]


def test_an_unknown_item_is_refused():
    with pytest.raises(FormatError, match="99"):
        checklist({"99": "?"})
