from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client_app.cache import Cache
from client_app.dicom import files
from client_app.dicom.parsed import parse
from client_app.readers.dicom import dicom
from client_app.source import open_source
from fedmend.errors import DataError, RunError, SpecError
from fedmend.plugins import PARTITIONS, READERS
from fedmend.records import Index, Record
from tests import federation
from tests.dicom_files import encoded, pixels, uid, write

TWICE = "the same image is there twice"


def by_path(index: Index) -> dict[str, Record]:
    return {str(record.facts["path"]): record for record in index.records}


def reasons(index: Index) -> dict[str, str]:
    return {rejected.source: rejected.reason for rejected in index.rejected}


def table(root: Path, text: str) -> None:
    (root / "labels.csv").write_text(text, encoding="utf-8")


def test_files_are_found_by_content_whatever_they_are_called(tmp_path: Path) -> None:
    write(tmp_path / "a" / "deep" / "IM0001", 1)
    write(tmp_path / "b.png", 2)
    write(tmp_path / ".hidden" / "c.dcm", 3)
    (tmp_path / "readme.dcm").write_text("words " * 100)
    (tmp_path / "empty.dcm").touch()
    index = dicom(path=tmp_path).index()
    assert reasons(index) == {
        "readme.dcm": "not a DICOM file",
        "empty.dcm": "the data set is empty",
    }
    found = by_path(index)
    assert set(found) == {"a/deep/IM0001", "b.png"}
    record = found["b.png"]
    assert record.uid == parse((tmp_path / "b.png").read_bytes()).digest
    assert record.group == hashlib.sha256(b"P2").hexdigest()
    assert (record.label, record.split, record.noisy) == (None, "", None)
    assert (record.facts["Manufacturer"], record.facts["KVP"]) == ("Maker", 120.0)


def test_pixels_are_shown_through_the_window(tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    for window, low, width in (("file", 0, 4095), ("1000/501", 749.5, 500)):
        reader = READERS.build(f"dicom(path='{tmp_path}', window={window})")
        image = reader.load(reader.index().records[0])
        expected = np.clip((pixels(1).astype(float) - low) / width, 0, 1)
        assert image.shape == (1, 8, 6)
        np.testing.assert_allclose(image[0].numpy(), expected, atol=2e-3)


def test_what_the_pixels_become_is_part_of_the_caches_key(tmp_path: Path) -> None:
    readers = [dicom(path=tmp_path, window=window) for window in ("file", "range")]
    assert len({getattr(reader, "decoding", "") for reader in readers}) == 2


@pytest.mark.parametrize(
    ("column", "cell"),
    [("path", "x/1"), ("file", "x/1"), ("SOPInstanceUID", uid("instance 1")),
     ("series_instance_uid", uid("series 1")), ("StudyInstanceUID", uid("study 1")),
     ("PatientID", "P1")],
)  # fmt: skip
def test_the_labels_column_says_how_rows_and_files_find_each_other(
    tmp_path: Path, column: str, cell: str
) -> None:
    write(tmp_path / "x" / "1", 1)
    write(tmp_path / "x" / "2", 2)
    table(tmp_path, f"{column},label,age\n{cell},ill,60\nnobody,well,70\n")
    index = dicom(path=tmp_path, labels="./labels.csv", image=column).index()
    (record,) = index.records
    assert (record.facts["path"], record.label, record.facts["age"]) == ("x/1", "ill", 60.0)
    assert reasons(index) == {
        "x/2": "no row of the labels matches",
        "row 3": "a row of the labels matches no image",
    }


def test_a_column_of_another_name_needs_a_key(tmp_path: Path) -> None:
    write(tmp_path / "1", 1)
    table(tmp_path, f"scan,label\n{uid('series 1')},ill\n")
    with pytest.raises(SpecError, match="add key="):
        READERS.build(f"dicom(path='{tmp_path}', labels=labels.csv, image=scan)")
    reader = dicom(path=tmp_path, labels="labels.csv", image="scan", key="SeriesInstanceUID")
    assert [record.label for record in reader.index().records] == ["ill"]


def test_the_table_says_everything_and_the_header_the_patient_where_it_does_not(
    tmp_path: Path,
) -> None:
    write(tmp_path / "1", 1)
    write(tmp_path / "2", 2)
    table(
        tmp_path,
        "path;class;who;set;bad;Manufacturer\n1;x;Q;train;1;Curated\n2;;;validation;no;\n",
    )
    reader = READERS.build(
        f"dicom(path='{tmp_path}', labels=labels.csv, label=class, patient=who, split=set, "
        "noisy=bad)"
    )
    found = by_path(reader.index())
    one, two = found["1"], found["2"]
    assert (one.label, one.split, one.noisy) == ("x", "train", True)
    assert (two.label, two.split, two.noisy) == (None, "val", False)
    assert one.group == hashlib.sha256(b"Q").hexdigest()
    assert two.group == hashlib.sha256(b"P2").hexdigest()
    assert (one.facts["Manufacturer"], two.facts["Manufacturer"]) == ("Curated", "Maker")


def test_without_a_patient_a_study_stays_together(tmp_path: Path) -> None:
    study = uid("study")
    for number in (1, 2):
        write(tmp_path / f"{number}", number, PatientID="", StudyInstanceUID=study)
    write(tmp_path / "3", 3, PatientID=None, StudyInstanceUID=None)
    found = by_path(dicom(path=tmp_path).index())
    assert found["1"].group == found["2"].group
    assert found["3"].group == found["3"].uid


def test_copies_are_used_once(tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    shutil.copy(tmp_path / "a", tmp_path / "b-same-file")
    write(tmp_path / "c-same-instance", 2, SOPInstanceUID=uid("instance 1"))
    write(tmp_path / "d-same-pixels", 3, PixelData=pixels(1).tobytes())
    write(tmp_path / "e", 4)
    index = dicom(path=tmp_path).index()
    assert set(by_path(index)) == {"a", "e"}
    assert reasons(index) == dict.fromkeys(
        ("b-same-file", "c-same-instance", "d-same-pixels"), TWICE
    )


def test_files_without_an_instance_uid_are_not_copies_of_one_another(tmp_path: Path) -> None:
    write(tmp_path / "a", 1, SOPInstanceUID=None)
    write(tmp_path / "b", 2, SOPInstanceUID=None)
    assert len(dicom(path=tmp_path).index().records) == 2


def test_copies_that_contradict_are_all_rejected(tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    shutil.copy(tmp_path / "a", tmp_path / "b")
    table(tmp_path, "path,label\na,x\nb,y\n")
    index = dicom(path=tmp_path, labels="labels.csv").index()
    assert not index.records
    assert set(reasons(index)) == {"a", "b"}
    assert set(reasons(index).values()) == {f"{TWICE}, with contradicting labels"}


def test_a_broken_copy_does_not_stand_in_for_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encoded(1)[:-20])
    write(tmp_path / "b", 1)
    index = dicom(path=tmp_path).index()
    assert set(by_path(index)) == {"b"}
    assert reasons(index) == {"a": "truncated"}


@pytest.mark.parametrize(("frames", "chosen"), [("each", [0, 1, 2, 3]), ("middle", [2])])
def test_frames_are_images_of_one_patient(tmp_path: Path, frames: Any, chosen: list[int]) -> None:
    write(tmp_path / "loop", 1, shape=(4, 8, 6), PatientID="", StudyInstanceUID=None)
    reader = dicom(path=tmp_path, frames=frames)
    records = reader.index().records
    assert [record.facts["frame"] for record in records] == chosen
    assert len({record.uid for record in records}) == len(chosen)
    assert len({record.group for record in records}) == 1
    for record in records:
        expected = pixels(1, (4, 8, 6))[int(record.facts["frame"])] / 4095
        np.testing.assert_allclose(reader.load(record)[0].numpy(), expected, atol=2e-3)


def test_frames_can_be_refused(tmp_path: Path) -> None:
    write(tmp_path / "loop", 1, shape=(4, 8, 6))
    write(tmp_path / "one", 2)
    index = dicom(path=tmp_path, frames="refuse").index()
    assert set(by_path(index)) == {"one"}
    assert reasons(index) == {"loop": "the file has several frames"}


def test_the_frames_of_a_file_are_read_from_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "loop", 1, shape=(9, 8, 6))
    write(tmp_path / "other", 2, shape=(9, 8, 6))
    reader = dicom(path=tmp_path)
    records = reader.index().records
    parsed: list[int] = []
    read = files.read

    def counted(data: bytes) -> Any:
        parsed.append(len(data))
        return read(data)

    monkeypatch.setattr(files, "read", counted)
    for record in records:
        reader.load(record)
    assert len(parsed) == 2


def test_the_pattern_chooses_files(tmp_path: Path) -> None:
    for number, name in enumerate(("a.dcm", "ct/b.dcm", "ct/c.ima", "mr/d.dcm")):
        write(tmp_path / name, number)

    def found(glob: str) -> set[str]:
        return set(by_path(dicom(path=tmp_path, glob=glob).index()))

    assert found("**/*.dcm") == {"a.dcm", "ct/b.dcm", "mr/d.dcm"}
    assert found("ct/*") == {"ct/b.dcm", "ct/c.ima"}
    assert found("*.dcm") == {"a.dcm"}


def test_the_fingerprint_follows_files_table_and_parameters(tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    table(tmp_path, "path,label\na,x\n")

    def fingerprint(**own: Any) -> str:
        return dicom(path=tmp_path, labels="labels.csv", **own).fingerprint()

    seen = [fingerprint(), fingerprint(glob="*"), fingerprint(frames="middle")]
    table(tmp_path, "path,label\na,y\n")
    seen.append(fingerprint())
    os.utime(tmp_path / "a", ns=(1, 1))
    seen.append(fingerprint())
    write(tmp_path / "b", 2)
    seen.append(fingerprint())
    assert len(set(seen)) == 6
    assert fingerprint(window="range") == fingerprint() == seen[-1]  # that is for decoding


def test_a_file_that_changes_in_use_ends_the_run_not_the_image(tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    write(tmp_path / "b", 2)
    reader = dicom(path=tmp_path)
    found = by_path(reader.index())
    write(tmp_path / "a", 3)
    (tmp_path / "b").unlink()
    with pytest.raises(RunError, match="changed"):
        reader.load(found["a"])
    with pytest.raises(RunError, match="no longer"):
        reader.load(found["b"])


def test_pixels_that_turn_out_bad_are_listed_with_their_file(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    write(tmp_path / "good", 1)
    whole = write(tmp_path / "bad", 2)
    dataset = files.read(whole.read_bytes())
    dataset.PixelData = encapsulate([b"no codestream at all"])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(whole, implicit_vr=False, little_endian=True)
    source = open_source(
        Cache(tmp_path / "cache", 2**30), dicom(path=tmp_path, glob="*d"), size=32, channels=1
    )
    assert [record.facts["path"] for record in source.records] == ["good"]
    (rejected,) = source.rejected
    assert rejected.source == "bad"
    assert "bad" not in rejected.reason
    assert rejected.detail


@pytest.mark.parametrize(
    ("spec", "match"),
    [("patient=x", "patient is about the table"), ("key=path", "key is about"),
     ("glob=''", "glob must be"), ("window=bright", "window must be"),
     ("frames=all", "each, middle, refuse"), ("labels=l.csv, key=name", "key must be one of")],
)  # fmt: skip
def test_bad_parameters_are_refused_by_name(tmp_path: Path, spec: str, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        READERS.build(f"dicom(path='{tmp_path}', {spec})")


@pytest.mark.parametrize("act", ["index", "fingerprint"])
def test_what_is_not_there_is_named_only_locally(tmp_path: Path, act: str) -> None:
    for reader in (dicom(path=tmp_path / "gone"), dicom(path=tmp_path, labels="gone.csv")):
        with pytest.raises(DataError, match="no such file") as caught:
            getattr(reader, act)()
        assert "gone" not in str(caught.value)


def test_vendors_can_be_sites(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path / str(number), number, Manufacturer="AB"[number % 2])
    records = [record._replace(split="train") for record in dicom(path=tmp_path).index().records]
    owners = PARTITIONS.build("column(name=Manufacturer)").assign(records, 2, 0)
    makers = [record.facts["Manufacturer"] for record in records]
    assert Counter(zip(owners.tolist(), makers, strict=True)) == {(0, "A"): 4, (1, "B"): 4}


def _hospital(root: Path, number: int) -> None:
    rows = []
    for image in range(16):
        seed = 100 * number + image
        write(root / f"series{image % 3}" / f"IM{image}", seed, shape=(32, 32))
        rows.append(f"{uid(f'instance {seed}')},{'ill' if image % 2 else 'well'}\n")
    (root / "labels.csv").write_text(f"SOPInstanceUID,label\n{''.join(rows)}1.2.3,ill\n")
    (root / "broken.dcm").write_bytes(encoded(number)[:-9])


def test_a_federation_runs_on_hospitals_folders(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    for number in range(2):
        _hospital(tmp_path / f"site-{number}", number)
    settings = federation.tiny(
        tmp_path,
        data=f"dicom(path='{tmp_path}/site-{{site}}', labels=labels.csv, image=SOPInstanceUID, "
        "label=label)",
        partition="sites()",
        arms="raw",
        split="50/25/25",
        imputation__rounds=1,
        classification__rounds=1,
    )
    folder, summary = federation.run(settings, sites=2)
    assert summary["status"] == "complete"
    assert summary["classes"] == ["ill", "well"]
    assert (summary["sites"]["asked"], summary["sites"]["used"]) == (2, 2)
    assert summary["images"]["train"] == 16
    for number in range(2):
        (path,) = (tmp_path / "cache").glob(f"state/*/site-{number}/quarantine.csv")
        assert path.stat().st_mode & 0o777 == 0o600
        with path.open(encoding="utf-8", newline="") as file:
            rows = {row["file"]: row["reason"] for row in csv.DictReader(file)}
        assert rows == {"broken.dcm": "truncated", "row 18": "a row of the labels matches no image"}
    told = "".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in folder.rglob("*")
        if path.suffix in {".json", ".jsonl", ".html"}
    )
    assert "broken.dcm" not in told
    assert uid("instance 1") not in told


@pytest.mark.parametrize("kind", ["dicom", "rsna"])
def test_pixels_that_are_not_square_keep_the_pictures_proportions(
    tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "train_images" / "P1" if kind == "rsna" else tmp_path
    write(root / "a", 1, shape=(8, 6), PixelSpacing=[1.0, 0.5])
    (tmp_path / "train.csv").write_text("patient_id,image_id,cancer\nP1,a,0\n")
    shapes, keys = [], []
    for aspect in ("", ", aspect=stretch"):
        glob = ", glob='a'" if kind == "dicom" else ""
        reader = READERS.build(f"{kind}(path='{tmp_path}'{glob}{aspect})")
        shapes.append(tuple(reader.load(reader.index().records[0]).shape))
        keys.append(getattr(reader, "decoding", ""))
    assert shapes == [(1, 16, 6), (1, 8, 8)]
    assert keys[0] != keys[1]


def test_a_radiograph_stored_sideways_is_shown_upright_with_its_own_proportions(
    tmp_path: Path,
) -> None:
    said = {"Modality": "CR", "PatientOrientation": ["F", "R"], "ImagerPixelSpacing": [0.2, 0.1]}
    write(tmp_path / "a", 1, shape=(8, 6), WindowCenter="2047.5", WindowWidth="4096", **said)
    reader = dicom(path=tmp_path)
    (record,) = reader.index().records
    assert record.facts["turned"] == "clockwise"
    image = reader.load(record)
    assert image.shape == (1, 6, 16)  # 8 rows of pixels twice as high as wide, now lying
    upright = np.rot90(pixels(1), -1)
    np.testing.assert_allclose(image[0, :, 0].numpy(), upright[:, 0] / 4095, atol=2e-3)


def _undecodable(seed: int, **own: Any) -> bytes:
    """Return a file whose header promises a picture that its pixels do not hold."""
    from pydicom.uid import JPEG2000Lossless

    data = encoded(seed, syntax=JPEG2000Lossless, PixelData=None, **own)
    junk = b"no codestream at all"
    item = b"\xfe\xff\x00\xe0"
    return (
        data
        + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
        + item + b"\0\0\0\0"
        + item + len(junk).to_bytes(4, "little") + junk
        + b"\xfe\xff\xdd\xe0\0\0\0\0"
    )  # fmt: skip


def test_where_the_copy_that_is_used_fails_another_one_is_taken(tmp_path: Path) -> None:
    same = {"SOPInstanceUID": uid("instance 1")}
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_bytes(_undecodable(1))
    (data / "b").write_bytes(_undecodable(2, **same))
    write(data / "c", 3, **same)
    write(data / "d", 4, **same)
    write(data / "e", 5)
    for workers in (1, 2):
        cache = Cache(tmp_path / f"cache-{workers}", 2**30)
        for _ in range(2):
            source = open_source(cache, dicom(path=data), size=8, channels=1, workers=workers)
            paths = {str(record.facts["path"]): row for row, record in enumerate(source.records)}
            assert set(paths) == {"c", "e"}
            assert source.records[paths["c"]].uid == parse(_undecodable(1)).digest
            shown = pixels(3).max() / 4095
            assert source.pixels.take([paths["c"]]).max() <= shown + 1e-3
            listed = {each.source: each.reason for each in source.rejected}
            assert listed == {"a": "cannot be decoded", "b": "cannot be decoded", "d": TWICE}
            assert len(source.rejected) == 3


def test_an_image_none_of_whose_copies_can_be_decoded_is_refused_once_a_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_bytes(_undecodable(1))
    (tmp_path / "b").write_bytes(_undecodable(2, SOPInstanceUID=uid("instance 1")))
    write(tmp_path / "c", 3)
    source = open_source(
        Cache(tmp_path / ".cache", 2**30), dicom(path=tmp_path), size=8, channels=1
    )
    assert len(source.records) == 1
    assert Counter(each.reason for each in source.rejected) == {"cannot be decoded": 2}


def test_what_copies_may_do_is_part_of_the_caches_key(tmp_path: Path) -> None:
    same = {"SOPInstanceUID": uid("instance 1")}
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_bytes(_undecodable(1))
    write(data / "b", 2, **same)
    cache = Cache(tmp_path / "cache", 2**30)
    with_copy = open_source(cache, dicom(path=data), size=8, channels=1)
    (data / "b").unlink()
    without = open_source(cache, dicom(path=data), size=8, channels=1)
    assert (len(with_copy.records), len(without.records)) == (1, 0)


def test_the_frames_of_a_file_that_fails_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "loop").write_bytes(_undecodable(1, NumberOfFrames=3))
    write(tmp_path / "one", 2)
    source = open_source(
        Cache(tmp_path / ".cache", 2**30), dicom(path=tmp_path), size=8, channels=1
    )
    assert len(source.records) == 1
    assert [each.source for each in source.rejected] == ["loop"]


def _counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often files are parsed, and how often pictures are decoded, from now on."""
    from client_app.dicom import display

    counts: Counter[str] = Counter()
    parsed, shown = files.read, display.image

    def parse_one(data: bytes) -> Any:
        counts["parsed"] += 1
        return parsed(data)

    def show_one(*asked: Any) -> Any:
        counts["shown"] += 1
        return shown(*asked)

    monkeypatch.setattr(files, "read", parse_one)
    monkeypatch.setattr(display, "image", show_one)
    return counts


def test_a_file_is_parsed_once_and_what_the_cache_has_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = tmp_path / "data", Cache(tmp_path / "cache", 2**30)
    for number in range(5):
        write(data / str(number), number, shape=(20, 30))
    counts = _counted(monkeypatch)
    first = open_source(cache, dicom(path=data), size=16, channels=1)
    assert counts == {"parsed": 5, "shown": 5}
    counts.clear()
    os.utime(data / "0", ns=(1, 1))
    shutil.move(data, tmp_path / "moved")
    again = open_source(cache, dicom(path=tmp_path / "moved"), size=16, channels=1)
    assert counts == {"parsed": 5}
    assert again.records == first.records
    assert torch.equal(again.pixels.take(range(5)), first.pixels.take(range(5)))
    counts.clear()
    write(tmp_path / "moved" / "new", 9, shape=(20, 30))
    more = open_source(cache, dicom(path=tmp_path / "moved"), size=16, channels=1)
    assert len(more.records) == 6
    assert counts["shown"] == 6  # the new one with its header, the others as they are needed


def test_pictures_made_early_are_those_made_later(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(4):
        write(data / str(number), number, shape=(20, 30))
    write(data / "copy", 1, shape=(20, 30), PatientName="A^B")
    write(data / "loop", 9, shape=(3, 20, 30))
    (data / "bad").write_bytes(_undecodable(8))
    reader = dicom(path=data)
    early = open_source(Cache(tmp_path / "one", 2**30), reader, size=16, channels=3)
    scarce = Cache(tmp_path / "two", 40_000)  # no room for pictures that wait
    later = open_source(scarce, reader, size=16, channels=3)
    assert later.records == early.records
    assert later.rejected == early.rejected
    assert {each.source for each in later.rejected} == {"copy", "bad"}
    np.testing.assert_array_equal(later.pixels.array, early.pixels.array)
    assert {path.name for path in (tmp_path / "one").iterdir() if path.is_file()} == {
        path.name for path in (tmp_path / "two").iterdir() if path.is_file()
    }
