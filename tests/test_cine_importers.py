"""Published cine MR, in folders that are laid out as the data sets are."""

import nibabel
import numpy as np
import pytest
from test_dicom_cine import frame
from test_nifti import coded, ring
from test_ukb import beat, xml, zipped

from stethos.cli import main
from stethos.data.cine_importers import moment_of
from stethos.data.cohort import open_cohort
from stethos.errors import CohortError, OriginError
from stethos.io.nifti import ACDC, MNMS, read_labels, write_nifti
from stethos.types import Volume


def beating():
    """Six frames of a ring whose cavity is bright, smallest in the fourth."""
    rows, columns = np.indices((40, 40))
    away = np.hypot(rows - 20, columns - 24)
    radius = np.array([7.0, 6.5, 5.5, 4.5, 5.5, 6.5])[:, None, None]
    return Volume((away < radius).astype(np.float32)[:, None], (8.0, 1.5, 1.5), 0.1)


def imported(layout, source, out):
    main(["cohort", "import", layout, str(source), "--out", str(out)])
    return open_cohort(out)


def test_acdc_counts_frames_from_one_and_codes_cavities_the_other_way_round(tmp_path):
    folder = tmp_path / "database" / "training" / "patient001"
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text("ED: 1\nES: 4\nGroup: DCM\nHeight: 184.0\nNbFrame: 6\nWeight: 95.0\n")
    write_nifti(folder / "patient001_4d.nii.gz", beating())
    for at in (1, 4):
        coded(folder / f"patient001_frame{at:02d}_gt.nii.gz", ring()[:1], ACDC)
    (tmp_path / "database" / "training" / "patient002").mkdir()
    (tmp_path / "database" / "training" / "patient002" / "Info.cfg").write_text("ED: 1\nES: 4\n")
    cohort = imported("acdc", tmp_path / "database", tmp_path / "out")
    assert len(cohort) == 1
    record = cohort[0]
    assert (record.facts["ed_frame"], record.facts["es_frame"], record.facts["group"]) == (0, 3, "DCM")
    np.testing.assert_allclose(record.volume.values, beating().values)
    labels = read_labels(record.facts["labels"])
    np.testing.assert_array_equal(labels[3], ring()[0])
    assert not labels[1].any()


def test_mnms2_gives_the_long_axis_with_its_moments_found(tmp_path):
    folder = tmp_path / "MnM2" / "dataset" / "001"
    folder.mkdir(parents=True)
    (tmp_path / "MnM2" / "dataset_information.csv").write_text(
        "SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD\n1,LV,GE,X,1.5\n"
    )
    write_nifti(folder / "001_LA_CINE.nii.gz", beating())
    for moment, at in (("ED", 0), ("ES", 3)):
        still = nibabel.Nifti1Image(beating().values[at].transpose(2, 1, 0), np.eye(4))
        nibabel.save(still, folder / f"001_LA_{moment}.nii.gz")
        coded(folder / f"001_LA_{moment}_gt.nii.gz", ring()[:1], MNMS)
    (record,) = list(imported("mnms2", tmp_path, tmp_path / "out"))
    assert (record.facts["ed_frame"], record.facts["es_frame"], record.facts["view"]) == (0, 3, "4ch")
    assert record.facts["group"] == "LV"


def test_uk_biobank_is_matched_by_visit_and_what_is_alone_is_counted(tmp_path, capsys):
    source = tmp_path / "ukb"
    source.mkdir()
    leads = {name: [0, 1, 2] for name in ("I", "II")}
    frames = [("CINE_segmented_LAX_4Ch", [frame(n, time=40.0 * n) for n in range(3)])]
    for person, visit in ((11, 2), (11, 3), (12, 2)):
        zipped(source / f"{person}_20208_{visit}_0.zip", frames)
    for person, visit in ((11, 2), (13, 2)):
        (source / f"{person}_20205_{visit}_0.xml").write_text(xml(leads), encoding="latin1")
    cohort = imported("ukb", source, tmp_path / "out")
    assert "with an ECG: 2, with long axes: 3, with short axes: 0, with an ECG and a cine: 1" in capsys.readouterr().out
    held = {record.id: (len(record.signals), record.volume is not None) for record in cohort}
    assert held == {"11_2": (1, True), "11_3": (0, True), "12_2": (0, True), "13_2": (1, False)}
    assert cohort.subjects.tolist().count("11") == 2
    assert cohort[0].facts["view"] == "4ch"


def test_uk_biobank_takes_the_stack_of_short_axes_where_four_chambers_are_missing(tmp_path):
    source = tmp_path / "ukb"
    source.mkdir()
    date = {"NominalInterval": 800, "AcquisitionDate": "20160102"}
    zipped(source / "1_20208_2_0.zip", [("CINE_segmented_LAX_2Ch", beat())])
    slices = [(f"CINE_segmented_SAX_b{k}", beat(10 * k, place=8.0 * k, **date)) for k in range(1, 11)]
    slices += [("CINE_segmented_SAX_b11", beat(110, size=(6, 6)))]
    zipped(source / "1_20209_2_0.zip", slices)
    zipped(source / "2_20208_2_0.zip", [("CINE_segmented_LAX_2Ch", beat())])
    (record,) = list(imported("ukb", source, tmp_path / "out"))
    assert record.volume.values[0, :, 0, 0].tolist() == [10 * k for k in range(1, 11)]
    facts = record.facts
    assert (facts["view"], facts["slices_left_out"], facts["heart_rate"]) == ("sax", 1, 75)
    assert record.when.year == 2016


def acdc(folder, volume, moments="ED: 1\nES: 4\n", labels=None):
    folder = folder / "patient001"
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text(moments)
    write_nifti(folder / "patient001_4d.nii.gz", volume)
    for at in (1, 4):
        coded(folder / f"patient001_frame{at:02d}_gt.nii.gz", ring()[:1] if labels is None else labels, ACDC)
    return folder.parent


@pytest.mark.parametrize(
    ("moments", "labels", "reason"),
    [
        ("ED: 1\nES: 9\n", None, "needs ED and ES from 1 to 6"),
        ("ED: 0\nES: 4\n", None, "needs ED and ES from 1 to 6"),
        ("ED: 1\nES: 4\n", ring()[:1, :, :, :30], "like its pictures"),
        ("ED: 1\nES: 4\n", np.pad(ring()[:1], ((0, 0), (0, 0), (0, 0), (0, 9))), "like its pictures"),
    ],
)
def test_moments_and_labels_that_do_not_fit_the_cine_are_refused(tmp_path, capsys, moments, labels, reason):
    with pytest.raises(SystemExit):
        imported("acdc", acdc(tmp_path / "in", beating(), moments, labels), tmp_path / "out")
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("place", "kept"), [((75, 75), False), ((150, 150), True)])
def test_a_crop_that_would_cut_an_outlined_heart_is_not_made(tmp_path, place, kept):
    """What beats is in the middle of 300 mm, or far from what is outlined."""
    high = (np.hypot(*(np.indices((200, 200)) * 1.5 - np.reshape(place, (2, 1, 1)))) < 12)[None, None]
    cine = Volume(high * (1 + np.cos(np.arange(6)))[:, None, None, None], (8.0, 1.5, 1.5), 0.1)
    labels = np.zeros((1, 1, 200, 200), np.uint8)
    labels[:, :, 80:120, 76:116] = ring()[0]
    record = imported("acdc", acdc(tmp_path / "in", cine, labels=labels), tmp_path / "out")[0]
    assert record.facts["cropped"] == kept
    assert record.volume.values.shape[2:] == ((100, 100) if kept else (200, 200))
    found = read_labels(record.facts["labels"], shape=record.volume.values.shape)
    assert np.count_nonzero(found) == 2 * np.count_nonzero(labels)


def test_a_picture_that_is_no_frame_of_its_cine_is_not_matched(tmp_path):
    cine = beating().values
    assert moment_of(cine, still(tmp_path / "a.nii", 3 * cine[3] + 7)) == 3
    with pytest.raises(CohortError, match="is no frame"):
        moment_of(cine, still(tmp_path / "b.nii", cine[3, :, ::-1, ::-1]))
    with pytest.raises(CohortError, match="has shape"):
        moment_of(cine, still(tmp_path / "c.nii", cine[3, :, 1:]))


def still(path, values):
    nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), np.eye(4)), path)
    return path


def test_a_cut_file_costs_its_patient_and_not_the_import(tmp_path, capsys):
    folder = acdc(tmp_path / "in", beating())
    second = folder / "patient002"
    second.mkdir()
    (second / "Info.cfg").write_text("ED: 1\nES: 4\n")
    data = (folder / "patient001" / "patient001_4d.nii.gz").read_bytes()
    (second / "patient002_4d.nii.gz").write_bytes(data[: len(data) // 2])
    assert len(imported("acdc", folder, tmp_path / "out")) == 1
    assert "left out: 1" in capsys.readouterr().out


def table(folder, cine):
    write_nifti(folder / "a.nii.gz", beating())
    (folder / "cohort.csv").write_text(f"path,subject,cine\na.nii.gz,1,{cine}\n")
    return folder


def test_a_recording_that_is_a_cine_needs_no_column_for_it(tmp_path):
    record = open_cohort(table(tmp_path, ""))[0]
    np.testing.assert_array_equal(record.volume.values, beating().values)


@pytest.mark.parametrize(("cine", "reason"), [("b.nii", "does not exist"), ("a.dcm", "needs NIfTI")])
def test_a_cine_that_is_missing_or_of_another_format_is_an_error_and_no_silence(tmp_path, cine, reason):
    with pytest.raises(CohortError, match=reason):
        open_cohort(table(tmp_path, cine))


def test_a_generated_cine_in_a_table_of_real_ones_is_refused(tmp_path):
    write_nifti(tmp_path / "b.nii", beating(), "generated")
    with pytest.raises(OriginError, match="says generated"):
        open_cohort(table(tmp_path, "b.nii"))[0]


def test_a_folder_of_nothing_is_refused(tmp_path, capsys):
    for layout in ("acdc", "ukb"):
        with pytest.raises(SystemExit):
            imported(layout, tmp_path, tmp_path / "out")
        assert "needs at least one readable recording" in capsys.readouterr().err
