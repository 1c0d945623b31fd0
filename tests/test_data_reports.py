"""Reports from files and tables, and `stethos findings`."""

import csv
from pathlib import Path

import pytest

from stethos.cli import main


def findings(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    main(["findings", *(str(argument) for argument in arguments)])
    return capsys.readouterr().out


def test_labels_are_shown_with_words_and_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "a.txt"
    file.write_text("Moderate mitral stenosis. No AS. Possible LA enlargement. LVEF 35-40%, LV function normal.")
    shown = findings(capsys, file)
    lines = {line.strip()[:30]: line for line in shown.splitlines()}
    assert "1        stated  “Moderate mitral stenosis”" in lines["mitral stenosis".ljust(30)]
    assert "0        denied  “No AS”" in lines["aortic stenosis".ljust(30)]
    assert "unknown  hedged" in shown
    assert "37.5 % (35 to 40)" in shown
    assert "conflict: reduced left ventricular systolic function" in shown
    assert shown.splitlines()[-1] == "1 report read"


def test_a_chinese_file_in_its_national_encoding_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "b.txt"
    file.write_bytes("左房增大，二尖瓣重度反流。".encode("gb18030"))
    assert "“二尖瓣重度反流”" in findings(capsys, file)


def test_a_table_becomes_a_table_of_labels_and_the_sex_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table, out = tmp_path / "in.csv", tmp_path / "out" / "labels.csv"
    (tmp_path / "c.txt").write_text("No MS. Severe MR.")
    table.write_text("id,sex,report\nx,female,LVEDD 55 mm.\ny,male,LVEDD 55 mm.\nz,,c.txt\nempty,,\n")
    shown = findings(capsys, table, "--out", out)
    assert "3 reports read; 1 skipped for want of text: empty" in shown
    rows = {row["id"]: row for row in csv.DictReader(out.read_text(encoding="utf8").splitlines())}
    assert [rows[name]["lv_enlargement"] for name in "xyz"] == ["1", "0", ""]
    assert (rows["z"]["mitral_stenosis"], rows["z"]["mitral_regurgitation"]) == ("0", "1")
    assert rows["x"]["lvedd"] == "55"


def test_a_cohorts_folder_and_another_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "cohort.csv").write_text("path,subject,report\nr1,s1,Small pericardial effusion.\n")
    shown = findings(capsys, tmp_path, "--preset", "extras")
    assert shown.startswith("r1 (en)")
    assert "below grade" in shown


@pytest.mark.parametrize(
    ("made", "arguments", "said"),
    [
        ("x.pdf", ["x.pdf"], "needs a .txt file, a CSV or Parquet table, or a cohort's folder"),
        ("t.csv", ["t.csv"], "needs the column report"),
        ("", ["."], "needs cohort.csv or cohort.parquet"),
        ("", ["none.txt"], "cannot be read"),
        ("", ["none.csv"], "no such file"),
        ("a.txt", ["a.txt", "--preset", "mine"], "there is no preset mine"),
        ("a.txt", ["a.txt", "--concepts", "none.toml"], "needs a table of findings"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made: str,
    arguments: list[str],
    said: str,
):
    monkeypatch.chdir(tmp_path)
    if made:
        Path(made).write_text("id,text\n1,no MS\n")
    with pytest.raises(SystemExit) as left:
        main(["findings", *arguments])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_report_that_a_table_names_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "t.csv").write_text("id,report\n1,gone.txt\n")
    with pytest.raises(SystemExit):
        main(["findings", str(tmp_path / "t.csv")])
    assert "gone.txt" in capsys.readouterr().err
