"""Cines in NIfTI: what comes back, and what a header must not be believed."""

import gzip

import nibabel
import numpy as np
import pytest

from stethos.errors import FormatError
from stethos.io import read
from stethos.io.nifti import ACDC, MNMS, read_labels, read_nifti, write_labels, write_nifti
from stethos.signal.heart_crop import crop_to_heart, heart_centre
from stethos.types import Volume


def volume(interval=0.04):
    return Volume(np.random.default_rng(0).random((5, 2, 7, 6), np.float32), (8.0, 1.5, 2.0), interval)


@pytest.mark.parametrize("name", ["heart.nii", "heart.nii.gz"])
def test_a_cine_comes_back_with_its_spacing_and_time(tmp_path, name):
    write_nifti(tmp_path / name, volume(), "generated")
    record = read_nifti(tmp_path / name)
    np.testing.assert_array_equal(record.volume.values, volume().values)
    assert record.volume.spacing == pytest.approx((8, 1.5, 2))
    assert record.volume.interval == pytest.approx(0.04)
    assert (record.id, record.origin) == ("heart", "generated")
    assert read(tmp_path / name).volume.values.shape == (5, 2, 7, 6)


def test_axes_are_x_y_z_t_in_the_file(tmp_path):
    write_nifti(tmp_path / "a.nii", volume())
    image = nibabel.load(tmp_path / "a.nii")
    assert image.shape == (6, 7, 2, 5)
    assert image.header.get_zooms() == pytest.approx((2, 1.5, 8, 0.04))
    assert float(image.dataobj[3, 4, 1, 2]) == volume().values[2, 1, 4, 3]


@pytest.mark.parametrize(("step", "unit"), [(1.0, "sec"), (0.04, "unknown"), (0.0, "sec")])
def test_a_time_step_that_no_heart_has_is_not_believed(tmp_path, step, unit):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 1, 3), np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((1, 1, 1, step))
    nibabel.save(image, tmp_path / "a.nii")
    record = read_nifti(tmp_path / "a.nii")
    assert np.isnan(record.volume.interval)
    assert record.facts["frame_interval_known"] == 0


def test_milliseconds_are_milliseconds(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 1, 3), np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", "msec")
    image.header.set_zooms((1, 1, 1, 35))
    nibabel.save(image, tmp_path / "a.nii")
    assert read_nifti(tmp_path / "a.nii").volume.interval == pytest.approx(0.035)


@pytest.mark.parametrize("shape", [(4, 4, 2), (4, 4, 1, 1)])
def test_one_moment_is_no_cine(tmp_path, shape):
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(FormatError, match="over time"):
        read_nifti(tmp_path / "a.nii")


def test_files_that_are_broken_are_refused_in_a_sentence(tmp_path):
    bad = np.zeros((4, 4, 1, 3), np.float32)
    bad[0, 0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(bad, np.eye(4)), tmp_path / "nan.nii")
    with pytest.raises(FormatError, match="1 voxels are no numbers"):
        read_nifti(tmp_path / "nan.nii")
    write_nifti(tmp_path / "whole.nii.gz", volume())
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "whole.nii.gz").read_bytes()[:900])
    with pytest.raises(FormatError, match=r"cut short|can be read"):
        read_nifti(tmp_path / "cut.nii.gz")
    (tmp_path / "text.nii").write_text("hello")
    with pytest.raises(FormatError, match="not a NIfTI"):
        read_nifti(tmp_path / "text.nii")
    with pytest.raises(FormatError, match="no such file"):
        read_nifti(tmp_path / "absent.nii")


def test_a_gzip_of_something_else_is_not_taken_for_one(tmp_path):
    with gzip.open(tmp_path / "a.nii.gz", "wb") as file:
        file.write(b"0" * 400)
    with pytest.raises(FormatError, match="unknown format"):
        read(tmp_path / "a.nii.gz")


def ring():
    """A cavity (1) in its muscle (2), and another cavity (3) beside it, one slice, two frames."""
    rows, columns = np.indices((40, 40))
    labels = np.zeros((40, 40), np.uint8)
    labels[np.hypot(rows - 20, columns - 8) < 6] = 3
    labels[np.hypot(rows - 20, columns - 24) < 10] = 2
    labels[np.hypot(rows - 20, columns - 24) < 6] = 1
    return np.stack([labels, labels])[:, None]


def coded(path, labels, coding):
    names = {1: "LV", 2: "MYO", 3: "RV"}
    values = np.zeros_like(labels)
    for number, name in names.items():
        values[labels == number] = coding[name]
    write_labels(path, values, (8.0, 1.0, 1.0))


def test_both_codes_of_the_field_become_one(tmp_path):
    for name, coding in (("acdc", ACDC), ("mnms", MNMS)):
        coded(tmp_path / f"{name}.nii.gz", ring(), coding)
        np.testing.assert_array_equal(read_labels(tmp_path / f"{name}.nii.gz", coding), ring())


def test_a_code_that_is_taken_for_the_other_is_noticed_by_the_muscle(tmp_path):
    coded(tmp_path / "acdc.nii.gz", ring(), ACDC)
    with pytest.raises(FormatError, match="exchanged"):
        read_labels(tmp_path / "acdc.nii.gz", MNMS)


def test_a_number_that_no_code_has_is_refused(tmp_path):
    write_labels(tmp_path / "a.nii", ring() + 2, (8.0, 1.0, 1.0))
    with pytest.raises(FormatError, match="this one also"):
        read_labels(tmp_path / "a.nii")


def disc(row, column, size=(60, 50)):
    """A disc that beats, on still noise."""
    rows, columns = np.indices(size)
    away = np.hypot(rows - row, columns - column)
    radius = 8 - 3 * np.sin(np.pi * np.arange(12) / 12) ** 2
    still = 0.3 * np.random.default_rng(1).random(size)
    return (still + 1 / (1 + np.exp(away - radius[:, None, None])))[:, None]


@pytest.mark.parametrize(("row", "column"), [(25, 20), (40, 33)])
def test_what_beats_is_found_and_the_crop_is_about_it(row, column):
    assert heart_centre(disc(row, column), (8.0, 2.0, 2.0)) == pytest.approx((row, column), abs=1)
    cropped, (top, left) = crop_to_heart(disc(row, column), (8.0, 2.0, 2.0), 40.0)
    assert cropped.shape == (12, 1, 20, 20)
    assert top <= row - 8 < row + 8 <= top + 20
    assert left <= column - 8 < column + 8 <= left + 20


def test_a_crop_larger_than_the_picture_is_the_picture_and_stillness_is_in_the_middle():
    cropped, corner = crop_to_heart(disc(25, 20), (8.0, 2.0, 2.0), 500.0)
    assert (cropped.shape, corner) == ((12, 1, 60, 50), (0, 0))
    assert heart_centre(np.ones((4, 1, 9, 7)), (1.0, 1.0, 1.0)) == (4, 3)
