"""Published cine MR, in folders that are laid out as the data sets are."""

import nibabel
import numpy as np
import pytest
from test_dicom_cine import frame
from test_nifti import coded, ring
from test_ukb import xml, zipped

from stethos.cli import main
from stethos.data.cohort import open_cohort
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


def test_a_folder_of_nothing_is_refused(tmp_path, capsys):
    for layout in ("acdc", "ukb"):
        with pytest.raises(SystemExit):
            imported(layout, tmp_path, tmp_path / "out")
        assert "needs at least one readable recording" in capsys.readouterr().err
