"""UK Biobank's zips and ECGs, as files are that were written from their description."""

import zipfile

import numpy as np
import pytest
from pydicom.uid import generate_uid
from test_dicom_cine import frame, seen

from stethos.errors import FormatError
from stethos.io import read
from stethos.io.ukb import read_cardiosoft, read_ukb_cmr

HEAD = "filename,patient,date,series discription,site"


def zipped(path, series, manifest="manifest.csv", head=HEAD):
    """A zip with files of each (series description, [frames])."""
    rows, number = [head], 0
    with zipfile.ZipFile(path, "w") as archive:
        for said, frames in series:
            for data in frames:
                archive.writestr(f"{number:03d}.dcm", data)
                rows.append(f"{number:03d}.dcm,1,Jan 02, 2016,{said},3")
                number += 1
        archive.writestr(manifest, "\n".join(rows))
    return path


def beat(first=0, count=3, **more):
    return [frame(first + n, time=40.0 * n, **more) for n in range(count)]


def test_views_are_known_by_the_misspelt_column_whatever_the_dates_hold(tmp_path):
    series = [("CINE_segmented_LAX_4Ch", beat()), ("CINE_segmented_SAX_b2", beat(10, series=generate_uid()))]
    found = read_ukb_cmr(zipped(tmp_path / "1_20208_2_0.zip", series, "manifest.cvs"))
    assert set(found) == {"la_4ch", "sax_2"}
    assert seen(found["la_4ch"]) == [0, 1, 2]
    assert seen(found["sax_2"]) == [10, 11, 12]


def test_a_merged_long_axis_is_three_views_in_their_known_order(tmp_path):
    frames = [frame(view * 10 + n, time=40.0 * n, count=3) for view in range(3) for n in range(3)]
    found = read_ukb_cmr(zipped(tmp_path / "1.zip", [("CINE_segmented_LAX", frames)]))
    assert {view: seen(record)[0] for view, record in found.items()} == {"la_3ch": 0, "la_4ch": 10, "la_2ch": 20}


def test_a_merged_short_axis_is_a_stack(tmp_path):
    frames = [frame(z * 10 + n, time=40.0 * n, count=2) for z in range(4) for n in range(2)]
    found = read_ukb_cmr(zipped(tmp_path / "1.zip", [("CINE_segmented_SAX", frames)]))
    assert sorted(found) == ["sax_1", "sax_2", "sax_3", "sax_4"]
    assert seen(found["sax_3"]) == [20, 21]


def test_of_a_repeated_series_the_last_is_taken(tmp_path):
    early, late = sorted((generate_uid(), generate_uid()))
    frames = beat(0, series=late) + beat(20, series=early)
    found = read_ukb_cmr(zipped(tmp_path / "1.zip", [("CINE_segmented_LAX_2Ch", frames)]))
    assert seen(found["la_2ch"]) == [0, 1, 2]


def test_a_picture_that_the_manifest_names_and_the_zip_lacks_is_counted(tmp_path):
    path = tmp_path / "1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(3):
            archive.writestr(f"{n}.dcm", frame(n, time=40.0 * n))
        rows = [f"{n}.dcm,CINE_segmented_LAX_4Ch" for n in range(5)] + ["9.dcm,LOCALIZER"]
        archive.writestr("manifest.csv", "\n".join(["filename,series discription", *rows]))
    assert read_ukb_cmr(path)["la_4ch"].facts["pictures_absent"] == 2


def test_two_files_of_one_name_are_not_taken_for_each_other(tmp_path):
    path = tmp_path / "1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for place in ("a", "b"):
            archive.writestr(f"{place}/0.dcm", frame(0, time=0.0))
        archive.writestr("manifest.csv", "filename,series discription\n0.dcm,CINE_segmented_LAX_4Ch")
    with pytest.raises(FormatError, match=r"two files are called 0\.dcm"):
        read_ukb_cmr(path)


def test_zips_that_are_not_whole_are_refused(tmp_path):
    frames = [frame(n, time=40.0 * n, count=3) for n in range(4)]
    with pytest.raises(FormatError, match="no multiple of 3 frames"):
        read_ukb_cmr(zipped(tmp_path / "a.zip", [("CINE_segmented_SAX", frames)]))
    with pytest.raises(FormatError, match=r"needs manifest\.csv or manifest\.cvs"):
        read_ukb_cmr(zipped(tmp_path / "b.zip", [("CINE_segmented_LAX_4Ch", beat())], "readme.txt"))
    with pytest.raises(FormatError, match="names no cine"):
        read_ukb_cmr(zipped(tmp_path / "c.zip", [("LOCALIZER", beat())]))
    with pytest.raises(FormatError, match="needs the columns filename"):
        read_ukb_cmr(zipped(tmp_path / "d.zip", [], head="file,date"))


def test_files_are_found_below_a_folder_and_by_a_manifest_that_quotes(tmp_path):
    rows = ["filename,date,series discription"]
    with zipfile.ZipFile(tmp_path / "1.zip", "w") as archive:
        for n in range(3):
            archive.writestr(f"x/{n}.dcm", frame(n, time=40.0 * n))
            rows.append(f'{n}.dcm,"Jan 02, 2016",CINE_segmented_LAX_4Ch')
        archive.writestr("x/manifest.csv", "\ufeff" + "\n".join(rows))
    assert seen(read_ukb_cmr(tmp_path / "1.zip")["la_4ch"]) == [0, 1, 2]


def test_series_that_only_begin_like_a_cine_are_not_taken_for_one(tmp_path):
    later = {"series": generate_uid()}
    series = [("CINE_segmented_SAX_b1", beat()), ("CINE_segmented_SAX_b1_InlineVF", beat(50, **later))]
    series += [("CINE_segmented_SAX_InlineVF", beat(70, 5, **later))]
    found = read_ukb_cmr(zipped(tmp_path / "1.zip", series))
    assert {view: seen(record) for view, record in found.items()} == {"sax_1": [0, 1, 2]}


def test_merged_views_are_told_apart_by_where_they_lie_even_with_a_frame_missing(tmp_path):
    frames = [
        frame(view * 10 + n, time=40.0 * n, count=4, InstanceNumber=n + 1, place=50.0 * (1 - view))
        for view in range(3)
        for n in range(4)
        if (view, n) != (2, 2)
    ]
    found = read_ukb_cmr(zipped(tmp_path / "1.zip", [("CINE_segmented_LAX", frames)]))
    assert {view: seen(record) for view, record in found.items()} == {
        "la_3ch": [0, 1, 2, 3],
        "la_4ch": [10, 11, 12, 13],
        "la_2ch": [20, 21, 21, 23],
    }


def test_a_view_of_which_little_came_does_not_cost_the_others(tmp_path):
    series = [("CINE_segmented_LAX_4Ch", beat(count=3)), ("CINE_segmented_LAX_2Ch", [frame(9, time=0.0)])]
    found = read_ukb_cmr(zipped(tmp_path / "1.zip", series))
    assert list(found) == ["la_4ch"]
    assert found["la_4ch"].facts["pictures_left_out"] == 1


def xml(leads, *, rate=500, step=5, extra=""):
    waves = "".join(
        f'<WaveformData lead="{name}">{",".join(map(str, values))}</WaveformData>' for name, values in leads.items()
    )
    return (
        f'<?xml version="1.0" encoding="ISO-8859-1"?>{extra}<CardiologyXML>'
        "<PatientInfo><Name>SECRET</Name></PatientInfo>"
        f"<StripData><SampleRate>{rate}</SampleRate><Resolution>{step}</Resolution>{waves}</StripData>"
        "<RestingECGMeasurements><VentricularRate>61</VentricularRate><QRSDuration>94</QRSDuration><PQInterval/>"
        "</RestingECGMeasurements></CardiologyXML>"
    )


def test_an_ecg_is_in_millivolts_with_its_measurements_and_without_a_name(tmp_path):
    path = tmp_path / "1_20205_2_0.xml"
    path.write_text(xml({"I": [0, 200, -200], "II": [1, 2, 3]}), encoding="latin1")
    record = read_cardiosoft(path)
    (signal,) = record.signals
    assert signal.rate == 500
    assert signal.channels == ("I", "II")
    np.testing.assert_allclose(signal.values[0], [0, 1, -1])
    assert dict(record.facts) == {"heart_rate": 61, "qrs_ms": 94}
    assert "SECRET" not in repr(record)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (xml({"I": [1]}, extra='<!DOCTYPE a [<!ENTITY x "y">]>'), "declares no entities"),
        (xml({"I": [1, 2], "II": [1]}), "leads of one length"),
        (xml({"I": [1]}, rate="fast"), "needs SampleRate"),
        (xml({"I": [1]}, rate=0), "at 0 Hz"),
        (xml({"I": []}), "leads of one length"),
        (xml({"I": ["a"]}), "numbers with commas"),
        (xml({"I": ["1e999"]}), "1 samples are no numbers"),
        (xml({"I": [1]}).replace("</StripData>", '<WaveformData lead="I">2</WaveformData></StripData>'), "each once"),
        ("<Other/>", "its root is Other"),
        ("<broken", "no XML"),
    ],
)
def test_an_ecg_that_is_none_is_refused(tmp_path, text, reason):
    path = tmp_path / "x.xml"
    path.write_text(text, encoding="latin1")
    with pytest.raises(FormatError, match=reason):
        read_cardiosoft(path)


def test_entities_are_refused_in_whatever_encoding_they_hide(tmp_path):
    path = tmp_path / "x.xml"
    text = xml({"I": [1]}, extra='<!DOCTYPE a [<!ENTITY x "y">]>').replace("ISO-8859-1", "UTF-16")
    path.write_bytes(text.encode("utf-16"))
    assert b"<!ENTITY" not in path.read_bytes()
    with pytest.raises(FormatError, match="declares no entities"):
        read_cardiosoft(path)


def test_the_spelling_of_the_encoding_that_the_machines_write_is_known(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text(xml({"I": [200]}).replace("ISO-8859-1", "ISO8859-1").replace("SECRET", "Müller"), encoding="latin1")
    record = read(path)
    assert record.signals[0].values.tolist() == [[1.0]]
    assert "ller" not in repr(record)
