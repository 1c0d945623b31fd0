"""Cohorts of cines: what belongs to which visit, where outlines lie after a crop, and archives of any size."""

import zipfile

import numpy as np
import pytest
from test_dicom_cine import folder, frame, seen, zipped
from test_nifti import coded
from test_ukb import xml
from test_ukb import zipped as visit_zip

from stethos.data.cine_importers import import_acdc, import_ukb
from stethos.data.cohort import open_cohort
from stethos.errors import FormatError
from stethos.io import dicom_cine, read
from stethos.io.dicom_cine import read_cine_dicom
from stethos.io.nifti import ACDC, read_labels, write_nifti
from stethos.types import Volume

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def examination(source, person, visit):
    """A four-chamber cine at 80 beats a minute; all of its pixels grow with the visit."""
    frames = [frame(10 * visit + n, time=40.0 * n, NominalInterval=750) for n in range(3)]
    visit_zip(source / f"{person}_20208_{visit}_0.zip", [("CINE_segmented_LAX_4Ch", frames)])


def at_rest(source, person, visit):
    """An ECG that is as many mV as the number of the visit."""
    path = source / f"{person}_20205_{visit}_0.xml"
    path.write_text(xml({name: [200 * visit] * 4 for name in LEADS}), encoding="latin1")


def test_each_visit_has_its_own_ecg_and_a_later_one_lends_none(tmp_path):
    source = tmp_path / "ukb"
    source.mkdir()
    for person, visit in ((11, 2), (11, 3), (12, 3)):
        examination(source, person, visit)
    for person, visit in ((11, 2), (11, 3), (12, 2)):
        at_rest(source, person, visit)
    made = import_ukb(source, tmp_path / "out")
    records = {record.id: record for record in open_cohort(tmp_path / "out")}
    millivolts = {name: float(one.signals[0].values[0, 0]) for name, one in records.items() if one.signals}
    assert millivolts == pytest.approx({"11_2": 2, "11_3": 3, "12_2": 2})
    greys = {name: seen(one)[0] for name, one in records.items() if one.volume is not None}
    assert greys == {"11_2": 20, "11_3": 30, "12_3": 30}
    assert records["12_3"].facts["heart_rate"] == 80
    assert any("with an ECG and a cine: 2" in note for note in made.notes)
    matched = {name: one.facts["matched"] for name, one in records.items()}
    assert matched == {"11_2": 1, "11_3": 1, "12_2": 0, "12_3": 0}


def test_of_two_files_of_a_visit_the_last_is_taken_and_the_other_is_told(tmp_path):
    source = tmp_path / "ukb"
    source.mkdir()
    examination(source, 11, 2)
    for place, millivolts in ((0, 1), (1, 3)):
        at_rest(source, 11, millivolts)
        (source / f"11_20205_{millivolts}_0.xml").rename(source / f"11_20205_2_{place}.xml")
    made = import_ukb(source, tmp_path / "out")
    assert made.skipped == (("11_20205_2_0.xml", "a later file of that field and visit is taken"),)
    assert float(open_cohort(tmp_path / "out")[0].signals[0].values[0, 0]) == pytest.approx(3)


def test_outlines_lie_on_the_heart_after_a_crop_that_is_off_the_middle(tmp_path):
    """A bright cavity of 7 and 4 pixels about (100, 80) of 160 × 140, outlined where it is largest and smallest."""
    rows, columns = np.indices((160, 140))
    away = np.hypot(rows - 100, columns - 80)
    cavity = away < np.array([7.0, 6.0, 4.0, 6.0])[:, None, None]
    labels = np.where(cavity, 1, np.where(away < 10, 2, 0)).astype(np.uint8)
    patient = tmp_path / "source" / "patient007"
    patient.mkdir(parents=True)
    (patient / "Info.cfg").write_text("ED: 1\nES: 3\nGroup: NOR\n")
    write_nifti(patient / "patient007_4d.nii.gz", Volume(cavity.astype(np.float32)[:, None], (8.0, 1.5, 1.5), 0.1))
    for at in (0, 2):
        coded(patient / f"patient007_frame{at + 1:02d}_gt.nii.gz", labels[at][None, None], ACDC)
    import_acdc(tmp_path / "source", tmp_path / "out")
    record = open_cohort(tmp_path / "out")[0]
    found = read_labels(record.facts["labels"])
    assert found.shape == record.volume.values.shape == (4, 1, 100, 100)
    for at in (0, 2):
        np.testing.assert_array_equal(found[at] == 1, record.volume.values[at] == 1)
        assert (found[at] > 0).sum() == (labels[at] > 0).sum()
    assert not found[[1, 3]].any()


def test_an_ecg_of_a_biobank_is_known_by_its_content(tmp_path):
    at_rest(tmp_path, 1, 2)
    path = (tmp_path / "1_20205_2_0.xml").rename(tmp_path / "ecg.dat")
    (signal,) = read(path).signals
    assert (signal.channels, signal.unit, signal.rate) == (LEADS, "mV", 500)
    np.testing.assert_allclose(signal.values, 2.0)


def test_of_ten_frames_eight_come_and_the_gaps_are_filled_where_they_are(tmp_path):
    frames = [frame(n, time=40.0 * n, count=10) for n in (9, 0, 1, 2, 8, 4, 5, 6)]
    (record,) = read_cine_dicom(folder(tmp_path, frames))
    assert seen(record) == [0, 1, 2, 2, 4, 5, 6, 6, 8, 9]
    assert record.facts["frames_repeated"] == 2
    assert record.volume.interval == pytest.approx(0.04)


@pytest.mark.parametrize("name", ["/etc/a.dcm", "C:\\a.dcm", "x\\..\\..\\a.dcm", "x/../../a.dcm"])
def test_an_archive_that_leads_out_of_itself_is_not_unpacked(tmp_path, monkeypatch, name):
    path = zipped(tmp_path / "out.zip", {name: frame(0, time=0.0), "b.dcm": frame(1, time=40.0)})
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(FormatError, match="leads out of the archive"):
        read_cine_dicom(path)


def test_an_archive_that_is_too_large_is_not_unpacked_however_little_it_was_packed(tmp_path, monkeypatch):
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for n in range(2):
            archive.writestr(f"{n}.dcm", frame(n, time=40.0 * n))
    (record,) = read_cine_dicom(path)
    assert seen(record) == [0, 1]
    monkeypatch.setattr(dicom_cine, "MOST_BYTES", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(FormatError, match=r"2 files of .* it was not unpacked"):
        read_cine_dicom(path)
