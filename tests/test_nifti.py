"""Cines in NIfTI: what comes back, and what a header must not be believed."""

import contextlib
import gzip
import struct
import sys

import nibabel
import numpy as np
import pytest

from stethos.errors import FormatError, MissingExtraError, RateError, StethosError
from stethos.io import read
from stethos.io.nifti import (
    ACDC,
    MNMS,
    MOSTLY,
    read_labels,
    read_nifti,
    read_still,
    surrounded,
    write_labels,
    write_nifti,
)
from stethos.signal.heart_crop import crop_to_heart, heart_centre
from stethos.synth import department
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
    with pytest.raises(FormatError, match="No such file"):
        read_nifti(tmp_path / "absent.nii")


@pytest.mark.parametrize("name", ["heart.bin", "heart.nii", "heart.nii.gz"])
@pytest.mark.parametrize("source", ["a.nii", "a.nii.gz"])
def test_what_a_file_holds_decides_and_not_its_suffix(tmp_path, source, name):
    write_nifti(tmp_path / source, volume())
    data = (tmp_path / source).read_bytes()
    (tmp_path / name).write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / name).volume.values, volume().values)


def test_version_two_of_the_format_is_read(tmp_path):
    image = nibabel.Nifti2Image(volume().values.transpose(3, 2, 1, 0), np.eye(4))
    nibabel.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz").volume.values, volume().values)


def changed(folder, place, form, *values):
    """A good file with some bytes of its header replaced."""
    write_nifti(folder / "good.nii", volume())
    data = bytearray((folder / "good.nii").read_bytes())
    struct.pack_into(f"<{form}", data, place, *values)
    (folder / "a.nii").write_bytes(data)
    return folder / "a.nii"


@pytest.mark.parametrize(
    ("place", "form", "values", "reason"),
    [
        (40, "8h", (4, 32767, 32767, 32767, 32767, 1, 1, 1), r"need \d{19} bytes"),
        (40, "8h", (4, -6, 7, 2, 5, 1, 1, 1), "cut short"),
        (70, "h", (9999,), "not a NIfTI"),
        (76 + 8, "f", (np.nan,), "voxel sizes"),
        (76 + 12, "f", (0.0,), "voxel sizes"),
        (344, "4s", (b"ni1\0",), "in one piece"),
    ],
)
def test_a_header_that_lies_is_refused_in_a_sentence(tmp_path, place, form, values, reason):
    with pytest.raises(FormatError, match=reason):
        read_nifti(changed(tmp_path, place, form, *values))


def test_whatever_bytes_are_changed_the_error_is_one_of_ours(tmp_path):
    draw = np.random.default_rng(3)
    for name in ("a.nii", "a.nii.gz"):
        write_nifti(tmp_path / name, volume())
        good = (tmp_path / name).read_bytes()
        for _ in range(150):
            bad = np.frombuffer(good, np.uint8).copy()
            bad[draw.integers(0, 352, 4)] = draw.integers(0, 256, 4)
            (tmp_path / "bad.nii").write_bytes(bad.tobytes()[: draw.integers(300, 2 * len(bad))])
            for reader in (read_nifti, read_labels, read):
                with contextlib.suppress(StethosError):
                    reader(tmp_path / "bad.nii")


@pytest.mark.parametrize("kind", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_colours_and_complex_numbers_are_no_pictures_of_a_heart(tmp_path, kind):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 1, 3), kind), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(FormatError, match="one number a voxel"):
        read_nifti(tmp_path / "a.nii")


def test_metres_become_millimetres(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 1, 3), np.float32), np.diag([0.0015, 0.002, 0.008, 1]))
    image.header.set_xyzt_units("meter", "sec")
    nibabel.save(image, tmp_path / "a.nii")
    assert read_nifti(tmp_path / "a.nii").volume.spacing == pytest.approx((8, 2, 1.5))


def test_a_caller_states_the_interval_where_the_file_does_not(tmp_path):
    write_nifti(tmp_path / "unknown.nii", volume(float("nan")))
    record = read_nifti(tmp_path / "unknown.nii", 0.03)
    assert (record.volume.interval, record.facts["frame_interval_known"]) == (0.03, 1)
    write_nifti(tmp_path / "known.nii", volume(0.04))
    with pytest.raises(RateError, match=r"the file states 0\.04 s"):
        read_nifti(tmp_path / "known.nii", 0.03)
    with pytest.raises(RateError, match="not 1"):
        read_nifti(tmp_path / "unknown.nii", 1.0)


def test_a_slice_whose_thickness_is_not_known_comes_back_so(tmp_path):
    one = Volume(volume().values[:, :1], (float("nan"), 1.5, 2.0), 0.04)
    write_nifti(tmp_path / "a.nii.gz", one)
    found = read_nifti(tmp_path / "a.nii.gz").volume
    assert np.isnan(found.spacing[0])
    assert found.spacing[1:] == pytest.approx((1.5, 2))
    np.testing.assert_array_equal(found.values, one.values)


def test_rate_and_unit_of_a_signal_do_not_belong_to_pictures(tmp_path):
    write_nifti(tmp_path / "a.nii", volume())
    for declared in ({"rate": 500.0}, {"unit": "mV"}):
        with pytest.raises(FormatError, match="no signal"):
            read(tmp_path / "a.nii", **declared)


def test_a_name_without_the_suffix_is_not_written(tmp_path):
    with pytest.raises(FormatError, match="ends in"):
        write_nifti(tmp_path / "a.dcm", volume())
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(FormatError, match="cannot be written"):
        write_nifti(tmp_path / "taken" / "a.nii", volume())


def test_without_nibabel_the_extra_is_named(tmp_path, monkeypatch):
    write_nifti(tmp_path / "a.nii", volume())
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingExtraError, match=r"stethos\[imaging\]"):
        read(tmp_path / "a.nii")


def test_one_moment_is_a_still_and_a_cine_is_not(tmp_path):
    nibabel.save(nibabel.Nifti1Image(volume().values[0].transpose(2, 1, 0), np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_still(tmp_path / "a.nii"), volume().values[:1])
    write_nifti(tmp_path / "b.nii", volume())
    with pytest.raises(FormatError, match="one moment"):
        read_still(tmp_path / "b.nii")


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


def test_the_exchange_is_noticed_where_no_right_ventricle_is_outlined(tmp_path):
    labels = np.where(ring() == 3, 0, ring())
    coded(tmp_path / "acdc.nii.gz", labels, ACDC)
    np.testing.assert_array_equal(read_labels(tmp_path / "acdc.nii.gz", ACDC), labels)
    with pytest.raises(FormatError, match="exchanged"):
        read_labels(tmp_path / "acdc.nii.gz", MNMS)


def test_a_ventricle_about_its_muscle_is_a_wrong_code(tmp_path):
    coded(tmp_path / "a.nii.gz", ring(), MNMS)
    with pytest.raises(FormatError, match="check the coding"):
        read_labels(tmp_path / "a.nii.gz", {"LV": 2, "MYO": 1, "RV": 3})


@pytest.mark.parametrize("view", ["sax", "4ch"])
@pytest.mark.parametrize("size", [24, 48])
def test_no_true_heart_is_near_what_is_refused(view, size):
    people = department(12, seed=1, size=size, frames=8, view=view)
    maps = [people.open.pictures(row)[1] for row in range(len(people))]
    left, right, inside = (
        np.array([surrounded(labels, *pair) for labels in maps]) for pair in ((1, 2), (3, 2), (2, 1))
    )
    assert right.max() < 0.45 < MOSTLY
    assert inside.max() < 0.5 < MOSTLY
    assert np.all(left > right)


def test_a_map_of_other_pictures_is_refused(tmp_path):
    coded(tmp_path / "a.nii", ring(), MNMS)
    assert read_labels(tmp_path / "a.nii", MNMS, (2, 1, 40, 40)).shape == (2, 1, 40, 40)
    with pytest.raises(FormatError, match="like its pictures"):
        read_labels(tmp_path / "a.nii", MNMS, (2, 1, 40, 41))


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
