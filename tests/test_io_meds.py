from datetime import datetime

import meds
import polars as pl
import pyarrow.parquet
import pytest

from stethos.errors import FormatError
from stethos.io.meds import read_meds, write_meds

EVENTS = pl.DataFrame(
    {
        "subject_id": [2, 1, 1, 1],
        "time": [datetime(2020, 1, 2), datetime(2020, 5, 1), None, datetime(2020, 1, 1, 12)],
        "code": ["LAB//K", "NOTE", "MEDS_BIRTH", "LAB//K"],
        "numeric_value": [5.7, None, None, 4.5],
        "text_value": [None, "haemolysed", None, None],
    }
)


def test_events_come_back_sorted_by_subject_and_time(tmp_path):
    write_meds(tmp_path, EVENTS)
    got = read_meds(tmp_path).collect()
    assert got["subject_id"].to_list() == [1, 1, 1, 2]
    assert got["code"].to_list() == ["MEDS_BIRTH", "LAB//K", "NOTE", "LAB//K"]
    assert got["numeric_value"].to_list() == pytest.approx([None, 4.5, None, 5.7], nan_ok=True)
    assert got["text_value"].to_list() == [None, None, "haemolysed", None]


def test_the_files_pass_the_schemas_of_the_standard(tmp_path):
    write_meds(
        tmp_path, EVENTS.drop("text_value"), splits={1: "train", 2: "held_out"}, descriptions={"LAB//K": "potassium"}
    )
    for part in ("train", "held_out"):
        meds.DataSchema.validate(pyarrow.parquet.read_table(tmp_path / "data" / part / "0.parquet"))
    meds.SubjectSplitSchema.validate(pyarrow.parquet.read_table(tmp_path / meds.subject_splits_filepath))
    codes = pyarrow.parquet.read_table(tmp_path / meds.code_metadata_filepath)
    meds.CodeMetadataSchema.validate(codes)
    assert dict(zip(codes["code"].to_pylist(), codes["description"].to_pylist(), strict=True))["LAB//K"] == "potassium"
    held_out = pl.read_parquet(tmp_path / "data/held_out/0.parquet")
    assert held_out["subject_id"].to_list() == [2]
    assert "text_value" in read_meds(tmp_path).collect_schema()


def test_a_missing_column_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(FormatError, match="need the column code; got subject_id, time"):
        write_meds(tmp_path, EVENTS.select("subject_id", "time"))
    with pytest.raises(FormatError, match=r"needs event files data/\*/\*\.parquet"):
        read_meds(tmp_path)
    with pytest.raises(FormatError, match="whole-number subjects"):
        write_meds(tmp_path, EVENTS.with_columns(pl.lit("ada").alias("subject_id")))
    (tmp_path / "data").mkdir()
    EVENTS.drop("code").write_parquet(tmp_path / "data/x.parquet")
    with pytest.raises(FormatError, match="need the column code"):
        read_meds(tmp_path)
    (tmp_path / "data/x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FormatError, match="not a readable Parquet"):
        read_meds(tmp_path)


@pytest.mark.realdata
def test_the_whole_mimic_demo_survives_a_round_trip(real, tmp_path):
    events = read_meds(real / "ehr/mimic-iv-demo-meds").select(EVENTS.columns).collect()
    assert (events.height, events["subject_id"].n_unique()) == (916_166, 100)
    write_meds(tmp_path, events)
    back = read_meds(tmp_path).collect()
    assert back.height == 916_166
    assert back["numeric_value"].sum() == pytest.approx(events["numeric_value"].sum(), rel=1e-4)
