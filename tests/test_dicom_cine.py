"""Cines in DICOM files, and everything that is wrong with such files."""

import contextlib
import io
import zipfile
from datetime import datetime

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from stethos.errors import FormatError, StethosError
from stethos.io import dicom_cine
from stethos.io.dicom_cine import read_cine_dicom
from stethos.signal.heart_crop import crop_to_heart

SERIES = generate_uid()


def frame(number, *, time=None, count=0, size=(8, 6), series=SERIES, place=0.0, pixels=True, **more):
    """Bytes of one frame whose pixels are all its number."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientName, file.SeriesInstanceUID, file.InstanceNumber = "SECRET^NAME", series, number + 1
    file.Modality, file.SeriesDescription = "MR", "CINE_segmented_SAX"
    file.ImagePositionPatient, file.ImageOrientationPatient = [0, 0, place], [1, 0, 0, 0, 1, 0]
    file.PixelSpacing, file.SliceThickness = [1.5, 2.0], 8
    if time is not None:
        file.TriggerTime = time
    if count:
        file.CardiacNumberOfImages = count
    if pixels:
        file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = *size, 1, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 0
        file.PixelData = np.full(size, number, np.uint16).tobytes()
    for name, value in more.items():
        setattr(file, name, value)
    held = io.BytesIO()
    pydicom.dcmwrite(held, file, enforce_file_format=True)
    return held.getvalue()


def folder(path, frames):
    for place, data in enumerate(frames):
        (path / f"{place:03d}.dcm").write_bytes(data)
    return path


def seen(record):
    """The number of every frame."""
    return record.volume.values[:, 0, 0, 0].tolist()


def test_frames_come_in_the_order_of_their_times_whatever_the_files_order(tmp_path):
    order = [3, 0, 2, 1]
    (record,) = read_cine_dicom(folder(tmp_path, [frame(n, time=40.0 * n) for n in order]))
    assert seen(record) == [0, 1, 2, 3]
    assert record.volume.interval == pytest.approx(0.04)
    assert record.volume.spacing == (8, 1.5, 2)
    assert record.facts["series"] == "CINE_segmented_SAX"
    assert "SECRET" not in repr(record)


def test_a_frame_that_did_not_come_repeats_the_one_before_and_is_counted(tmp_path):
    frames = [frame(n, time=40.0 * n, count=7) for n in (0, 1, 4, 5)]
    (record,) = read_cine_dicom(folder(tmp_path, frames))
    assert seen(record) == [0, 1, 1, 1, 4, 5, 5]
    assert record.facts["frames_repeated"] == 3


def test_a_gap_among_few_frames_stretches_no_interval(tmp_path):
    (record,) = read_cine_dicom(folder(tmp_path, [frame(n, time=40.0 * n, count=4) for n in (0, 1, 3)]))
    assert seen(record) == [0, 1, 1, 3]
    assert record.volume.interval == pytest.approx(0.04)


def test_equal_times_are_told_apart_by_number_and_counted(tmp_path):
    frames = [frame(n, time=[0.0, 40.0, 40.0, 80.0][n]) for n in (2, 3, 0, 1)]
    (record,) = read_cine_dicom(folder(tmp_path, frames))
    assert seen(record) == [0, 1, 2, 3]
    assert record.facts["frames_at_the_same_time"] == 1


def test_without_times_the_numbers_order_and_the_interval_is_not_invented(tmp_path):
    (record,) = read_cine_dicom(folder(tmp_path, [frame(n) for n in (1, 0, 2)]))
    assert seen(record) == [0, 1, 2]
    assert record.facts["frames_without_time"] == 3
    assert np.isnan(record.volume.interval)


def test_a_stated_beat_gives_the_interval_where_times_do_not(tmp_path):
    (record,) = read_cine_dicom(folder(tmp_path, [frame(n, NominalInterval=900) for n in range(3)]))
    assert record.volume.interval == pytest.approx(0.3)


def test_series_and_slices_are_apart(tmp_path):
    other = generate_uid()
    frames = [frame(n, time=40.0 * n, place=z) for n in range(2) for z in (0.0, 8.0)]
    frames += [frame(n, time=40.0 * n, series=other) for n in range(2)]
    assert len(read_cine_dicom(folder(tmp_path, frames))) == 3


def test_slope_and_intercept_count(tmp_path):
    frames = [frame(n, time=40.0 * n, RescaleSlope=2, RescaleIntercept=-1) for n in range(2)]
    (record,) = read_cine_dicom(folder(tmp_path, frames))
    assert seen(record) == [-1, 1]


def test_a_file_without_pixels_and_frames_of_two_sizes_are_refused(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    with pytest.raises(FormatError, match=r"without pixels \(MR\)"):
        read_cine_dicom(folder(first, [frame(0, pixels=False)]))
    with pytest.raises(FormatError, match="have one size"):
        read_cine_dicom(folder(second, [frame(0, time=0.0), frame(1, time=1.0, size=(6, 6))]))


def test_a_folder_without_pictures_and_a_single_frame_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(FormatError, match="needs DICOM files with pictures"):
        read_cine_dicom(tmp_path)
    with pytest.raises(FormatError, match="at least two frames"):
        read_cine_dicom(folder(tmp_path, [frame(0, time=0.0)]))


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_zip_is_read_like_a_folder(tmp_path):
    members = {f"x/{n}.dcm": frame(n, time=40.0 * n) for n in (1, 0)} | {"manifest.csv": b"a"}
    (record,) = read_cine_dicom(zipped(tmp_path / "scan.zip", members))
    assert seen(record) == [0, 1]


def test_a_zip_that_would_fill_the_disk_is_not_unpacked(tmp_path, monkeypatch):
    bomb = zipped(tmp_path / "bomb.zip", {"a.dcm": b"\0" * 4_000_000})
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(FormatError, match="it was not unpacked"):
        read_cine_dicom(bomb)
    monkeypatch.setattr(dicom_cine, "MOST_FILES", 1)
    many = zipped(tmp_path / "many.zip", {"a": b"ab", "b": b"cd"})
    with pytest.raises(FormatError, match="2 files"):
        read_cine_dicom(many)


def test_a_zip_that_leads_outside_is_not_unpacked(tmp_path):
    with pytest.raises(FormatError, match="leads out of the archive"):
        read_cine_dicom(zipped(tmp_path / "out.zip", {"../../a.dcm": frame(0)}))


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x99\x00UL\x04\x00ab")
    with pytest.raises(FormatError, match=r"x\.dcm"):
        read_cine_dicom(tmp_path)


def test_slices_come_in_the_order_in_which_they_lie(tmp_path):
    frames = [frame(100 + int(z) + n, time=40.0 * n, place=z) for z in (8.0, 100.0, -8.0, 16.0) for n in range(2)]
    assert [seen(record)[0] for record in read_cine_dicom(folder(tmp_path, frames))] == [92, 108, 116, 200]


def test_positions_that_differ_by_a_hair_are_one_slice(tmp_path):
    frames = [frame(n, time=40.0 * n, place=(-1) ** n * 1e-3) for n in range(4)]
    (record,) = read_cine_dicom(folder(tmp_path, frames))
    assert seen(record) == [0, 1, 2, 3]


def test_planes_that_cross_are_apart(tmp_path):
    other = [1, 0, 0, 0, 0, 1]
    frames = [frame(n, time=40.0 * n) for n in range(2)]
    frames += [frame(n + 10, time=40.0 * n, ImageOrientationPatient=other) for n in range(2)]
    assert sorted(seen(record) for record in read_cine_dicom(folder(tmp_path, frames))) == [[0, 1], [10, 11]]


def test_pictures_that_are_no_cine_are_left_out_and_counted(tmp_path):
    frames = [frame(n, time=40.0 * n, count=3) for n in range(3)]
    frames += [frame(7, series=generate_uid())]
    frames += [frame(n, time=40.0 * n, count=20, place=8.0) for n in range(2)]
    (record,) = read_cine_dicom(folder(tmp_path, frames))
    assert seen(record) == [0, 1, 2]
    assert record.facts["pictures_left_out"] == 3


def test_without_times_gaps_in_the_numbers_tell_what_is_missing(tmp_path):
    (record,) = read_cine_dicom(folder(tmp_path, [frame(n, count=6) for n in (0, 1, 4, 5)]))
    assert seen(record) == [0, 1, 1, 1, 4, 5]
    assert record.facts["frames_repeated"] == 2


def test_a_file_that_came_twice_counts_once(tmp_path):
    first = frame(0, time=0.0)
    (record,) = read_cine_dicom(folder(tmp_path, [first, first, frame(1, time=40.0), frame(2, time=80.0)]))
    assert seen(record) == [0, 1, 2]
    assert record.facts["files_twice"] == 1


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"PixelSpacing": [0, 0]}, "PixelSpacing"),
        ({"NumberOfFrames": 2, "PixelData": np.zeros((2, 8, 6), np.uint16).tobytes()}, "one grey picture a file"),
    ],
)
def test_pictures_of_another_kind_are_refused(tmp_path, more, reason):
    with pytest.raises(FormatError, match=reason):
        read_cine_dicom(folder(tmp_path, [frame(n, time=40.0 * n, **more) for n in range(2)]))


def test_distance_between_slices_is_positive_and_unknown_where_not_stated(tmp_path):
    for name, more, thick in (("a", {"SpacingBetweenSlices": -9}, 9), ("b", {"SliceThickness": None}, np.nan)):
        (tmp_path / name).mkdir()
        (record,) = read_cine_dicom(folder(tmp_path / name, [frame(n, time=40.0 * n, **more) for n in range(2)]))
        np.testing.assert_equal(record.volume.spacing, (thick, 1.5, 2.0))


def test_the_day_of_the_examination_is_kept(tmp_path):
    frames = [frame(n, time=40.0 * n, AcquisitionDate="20160102", AcquisitionTime="153050.4") for n in range(2)]
    (record,) = read_cine_dicom(folder(tmp_path, frames))
    assert record.when == datetime(2016, 1, 2, 15, 30, 50)


def test_the_table_of_contents_of_a_disc_is_no_picture(tmp_path):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    contents = Dataset()
    contents.file_meta = meta
    held = io.BytesIO()
    pydicom.dcmwrite(held, contents, enforce_file_format=True)
    (record,) = read_cine_dicom(folder(tmp_path, [held.getvalue(), *(frame(n, time=40.0 * n) for n in range(2))]))
    assert seen(record) == [0, 1]


def test_a_zip_that_is_broken_or_lies_about_its_size_is_refused_in_a_sentence(tmp_path):
    zeros = zipped(tmp_path / "zeros.zip", {"a.dcm": b"\0" * 40_000}).read_bytes()
    lying = zeros.replace((40_000).to_bytes(4, "little"), (400).to_bytes(4, "little"))
    assert lying != zeros
    broken = bytearray(zipped(tmp_path / "good.zip", {"a.dcm": frame(0)}).read_bytes())
    broken[200] ^= 255
    for name, data in (("lying", lying), ("broken", bytes(broken))):
        (tmp_path / f"{name}.zip").write_bytes(data)
        with pytest.raises(FormatError, match="cannot be unpacked"):
            read_cine_dicom(tmp_path / f"{name}.zip")


def test_whatever_bytes_are_changed_the_error_is_one_of_ours(tmp_path):
    draw = np.random.default_rng(4)
    good = frame(0, time=0.0, count=3)
    (tmp_path / "b.dcm").write_bytes(frame(1, time=40.0, count=3))
    for _ in range(150):
        bad = np.frombuffer(good, np.uint8).copy()
        bad[draw.integers(132, len(bad), 3)] = draw.integers(0, 256, 3)
        (tmp_path / "a.dcm").write_bytes(bad.tobytes()[: draw.integers(200, 2 * len(bad))])
        with contextlib.suppress(StethosError):
            read_cine_dicom(tmp_path)


@pytest.mark.realdata
def test_a_real_examination_reads_sorts_and_is_cropped_to_the_heart(real):
    """P09 of the RVSC challenge: 20 frames of one slice, and two frames each of two others."""
    folder_ = real / "cmr" / "rvsc_patient09" / "patient09"
    (record,) = read_cine_dicom(folder_ / "P09dicom")
    values = record.volume.values
    assert values.shape in ((20, 1, 256, 216), (20, 1, 216, 256))
    assert record.volume.spacing == pytest.approx((7, 0.701, 0.701), abs=1e-3)
    assert record.volume.interval == pytest.approx(0.04875)
    assert (record.facts["rr_ms"], record.facts["pictures_left_out"], record.facts["frames_repeated"]) == (968, 4, 0)
    for at in (0, 7, 19):
        file = pydicom.dcmread(folder_ / "P09dicom" / f"P09-{at:04d}.dcm")
        np.testing.assert_array_equal(values[at, 0], file.pixel_array)
    cropped, (top, left) = crop_to_heart(values, record.volume.spacing, 130.0)
    assert max(cropped.shape[2:]) < min(values.shape[2:])
    contours = sorted((folder_ / "P09contours-manual").glob("*-ocontour-manual.txt"))
    assert len(contours) == 3
    for path in contours:
        x, y = np.loadtxt(path).T
        assert left <= x.min() < x.max() < left + cropped.shape[3]
        assert top <= y.min() < y.max() < top + cropped.shape[2]
