from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from client_app.readers.folder import folder
from fedmend.errors import DataError, RunError, SpecError
from fedmend.plugins import READERS
from fedmend.records import Index, Reader, Record, Rejected


def draw(path: Path, value: int, size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def by_source(index: Index, column: str = "image") -> dict[str, Record]:
    return {str(record.facts[column]): record for record in index.records}


def reasons(index: Index) -> dict[str, str]:
    return {rejected.source: rejected.reason for rejected in index.rejected}


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    draw(tmp_path / "ill" / "deep" / "a.png", 10)
    draw(tmp_path / "ill" / "b.JPG", 20)
    draw(tmp_path / "well" / "c.tiff", 30)
    np.save(tmp_path / "well" / "d.npy", np.full((4, 3), 40, np.uint8))
    return tmp_path


def labelled(path: Path, text: str, **columns: str) -> Reader:
    (path / "labels.csv").write_text(text, encoding="utf-8")
    return folder(path=path, labels="labels.csv", **columns)


def test_subfolders_are_classes(classes: Path) -> None:
    index = folder(path=classes).index()
    found = by_source(index)
    assert {source: record.label for source, record in found.items()} == {
        "ill/deep/a.png": "ill", "ill/b.JPG": "ill", "well/c.tiff": "well", "well/d.npy": "well",
    }  # fmt: skip
    assert not index.rejected
    for source, record in found.items():
        assert record.uid == hashlib.sha256((classes / source).read_bytes()).hexdigest()
        assert record.group == record.uid
        assert (record.split, record.noisy) == ("", None)
    uids = [record.uid for record in index.records]
    assert uids == sorted(uids)


def test_images_load_at_their_own_size(classes: Path) -> None:
    reader = folder(path=classes)
    record = by_source(reader.index())["well/d.npy"]
    image = folder(path=classes).load(record)  # another process, say
    assert image.shape == (1, 4, 3)
    assert float(image[0, 0, 0]) == pytest.approx(40 / 255)


def test_stray_files_are_rejected_and_hidden_ones_overlooked(classes: Path) -> None:
    (classes / "readme.txt").write_text("x")
    (classes / "well" / "notes.txt").write_text("x")
    (classes / "well" / "._c.tiff").write_text("x")
    (classes / ".cache").mkdir()
    (classes / ".cache" / "e.png").write_text("x")
    index = folder(path=classes).index()
    assert len(index.records) == 4
    assert reasons(index) == {
        "readme.txt": "the file lies in no class folder",
        "well/notes.txt": "the file is not a PNG, JPEG, TIFF or NPY image",
    }


def test_what_is_cheap_to_see_is_seen_at_once_and_the_rest_when_loaded(classes: Path) -> None:
    (classes / "ill" / "empty.png").touch()
    (classes / "ill" / "text.png").write_text("not an image")
    whole = (classes / "ill" / "deep" / "a.png").read_bytes()
    (classes / "ill" / "half.png").write_bytes(whole[:40])
    reader = folder(path=classes)
    index = reader.index()
    assert reasons(index) == {
        "ill/empty.png": "the file is empty",
        "ill/text.png": "the file is not a PNG, JPEG, TIFF or NPY image",
    }
    with pytest.raises(DataError, match="damaged or truncated") as caught:
        reader.load(by_source(index)["ill/half.png"])
    assert caught.value.local == "ill/half.png"


def test_a_table_says_everything(tmp_path: Path) -> None:
    for value, name in enumerate("abcd"):
        draw(tmp_path / "files" / f"{name}.png", value)
    reader = labelled(
        tmp_path,
        "file;finding;pid;set;bad;age;ward\n"
        "files/a.png;x;P1;train;1;70;east\n"
        "files/b.png;y;P1;train;no;;west\n"
        "files/c.png;;P2;validation;;71.5;007\n"
        "files/d.png;y;;test;0;1e2;\n",
        image="file", label="finding", patient="pid", split="set", noisy="bad",
    )  # fmt: skip
    index = reader.index()
    found = by_source(index, "file")
    a, b, c, d = (found[f"files/{name}.png"] for name in "abcd")
    assert not index.rejected
    assert [each.label for each in (a, b, c, d)] == ["x", "y", None, "y"]
    assert [each.split for each in (a, b, c, d)] == ["train", "train", "val", "test"]
    assert [each.noisy for each in (a, b, c, d)] == [True, False, None, False]
    assert a.group == b.group == hashlib.sha256(b"P1").hexdigest()
    assert c.group == hashlib.sha256(b"P2").hexdigest()
    assert d.group == d.uid
    assert a.facts == {"file": "files/a.png", "finding": "x", "age": 70.0, "ward": "east"}
    assert c.facts == {"file": "files/c.png", "age": 71.5, "ward": "007"}
    assert d.facts["age"] == 100.0


def test_rows_that_cannot_be_used_are_rejected_one_by_one(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for value, name in enumerate(("a", "b", "c", "d")):
        draw(root / f"{name}.png", value)
    draw(tmp_path / "outside.png", 99)
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    os.mkfifo(root / "pipe.png")
    reader = labelled(
        root,
        "image,label,set,bad\na.png,x,train,\nmissing.png,x,,\n../outside.png,x,,\nlink.png,x,,\n"
        f"{tmp_path / 'outside.png'},x,,\n,x,,\nb.png,x\nc.png,x,training,\nd.png,x,,perhaps\n"
        "pipe.png,x,,\n.,x,,\n",
        split="set", noisy="bad",
    )  # fmt: skip
    index = reader.index()
    assert list(by_source(index)) == ["a.png"]
    outside = "the file lies outside the images' folder"
    assert reasons(index) == {
        "missing.png": "there is no such file",
        "../outside.png": outside,
        "link.png": outside,
        str(tmp_path / "outside.png"): outside,
        "row 7": "the row names no image",
        "row 8": "the row has not as many cells as the header",
        "c.png": "the split is none of train, val, valid, validation and test",
        "d.png": "the noisy column is none of 1, true, yes, 0, false, no and empty",
        "pipe.png": "it is a folder, a pipe or a device, not a file",
        ".": "it is a folder, a pipe or a device, not a file",
    }


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    draw(tmp_path / "store" / "a.png", 1)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").symlink_to(tmp_path / "store" / "a.png")
    shutil.move(tmp_path / "store", tmp_path / ".store")
    (tmp_path / "x" / "a.png").unlink()
    (tmp_path / "x" / "a.png").symlink_to("../.store/a.png")
    assert list(by_source(folder(path=tmp_path).index())) == ["x/a.png"]


def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1)
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    index = labelled(tmp_path, "image,label\nb.png,x\na.png,x\na.png,x\n").index()
    assert list(by_source(index)) == ["b.png"]
    reason = "the same image is listed more than once"
    assert list(index.rejected) == [Rejected("a.png", reason), Rejected("a.png", reason)]


@pytest.mark.parametrize("column", ["label", "patient", "split", "noisy"])
def test_contradicting_copies_are_all_rejected(tmp_path: Path, column: str) -> None:
    draw(tmp_path / "a.png", 1)
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    first = {"label": "x", "patient": "p", "split": "train", "noisy": "1"}
    other = first | {column: {"label": "y", "patient": "q", "split": "test", "noisy": "0"}[column]}
    header = ",".join(first)
    rows = "\n".join(
        f"{name},{','.join(row.values())}" for name, row in (("a.png", first), ("b.png", other))
    )
    columns = {name: name for name in first}
    index = labelled(tmp_path, f"image,{header}\n{rows}\n", **columns).index()
    assert not index.records
    assert set(reasons(index).values()) == {"the same image is listed with contradicting labels"}


def test_nothing_needs_to_be_labelled(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1)
    (record,) = labelled(tmp_path, "image\na.png\n", label="").index().records
    assert record.label is None


def test_missing_columns_are_listed_locally(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image") as caught:
        labelled(tmp_path, "datei,label\n").index()
    assert "datei" not in str(caught.value)
    assert "datei, label" in caught.value.local


@pytest.mark.parametrize("act", ["index", "fingerprint"])
def test_a_folder_or_table_that_is_not_there_is_named_only_locally(
    tmp_path: Path, act: str
) -> None:
    for reader in (folder(path=tmp_path / "gone"), folder(path=tmp_path, labels="gone.csv")):
        with pytest.raises(DataError, match="no such file") as caught:
            getattr(reader, act)()
        assert "gone" not in str(caught.value)
        assert "gone" in caught.value.local


def test_the_fingerprint_follows_every_change(classes: Path) -> None:
    reader = folder(path=classes)
    seen = [reader.fingerprint()]
    assert reader.fingerprint() == seen[0]
    os.utime(classes / "ill" / "b.JPG", ns=(1, 1))
    seen.append(reader.fingerprint())
    draw(classes / "ill" / "new.png", 5)
    seen.append(reader.fingerprint())
    (classes / "ill" / "new.png").rename(classes / "well" / "new.png")
    seen.append(reader.fingerprint())
    (classes / "well" / "new.png").unlink()
    seen.append(reader.fingerprint())
    assert len(set(seen)) == 4
    assert seen[4] == seen[1]


def test_the_fingerprint_of_a_table_is_its_content_and_its_files(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1)
    draw(tmp_path / "b.png", 2)
    reader = labelled(tmp_path, "image,label\na.png,x\n")
    before = reader.fingerprint()
    os.utime(tmp_path / "b.png", ns=(1, 1))
    os.utime(tmp_path / "labels.csv", ns=(1, 1))
    assert reader.fingerprint() == before  # b.png is none of its files, and the text is the same
    os.utime(tmp_path / "a.png", ns=(1, 1))
    touched = reader.fingerprint()
    relabelled = labelled(tmp_path, "image,label\na.png,y\n").fingerprint()
    other_column = labelled(tmp_path, "image,label\na.png,x\n", label="").fingerprint()
    assert len({before, touched, relabelled, other_column}) == 4


def test_an_image_that_changes_or_goes_in_use_ends_the_run_not_the_image(classes: Path) -> None:
    reader = folder(path=classes)
    found = by_source(reader.index())
    draw(classes / "ill" / "b.JPG", 77)
    (classes / "well" / "c.tiff").unlink()
    with pytest.raises(RunError, match="changed"):
        reader.load(found["ill/b.JPG"])
    with pytest.raises(RunError, match="no longer"):
        reader.load(found["well/c.tiff"])


def fail(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def read_bytes(path: Path) -> bytes:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "read_bytes", read_bytes)


def test_files_that_may_not_be_read_are_rejected(
    classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, errno.EACCES)
    index = folder(path=classes).index()
    assert not index.records
    assert set(reasons(index).values()) == {"the file may not be read"}


def test_a_failing_disk_ends_the_run_and_rejects_nothing(
    classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, errno.EIO)
    with pytest.raises(RunError, match="input/output error") as caught:
        folder(path=classes).index()
    assert str(classes) not in str(caught.value)


@pytest.mark.parametrize("column", ["patient", "split", "noisy"])
def test_columns_without_a_table_are_refused(column: str) -> None:
    with pytest.raises(SpecError, match=f"{column} names a column of labels"):
        READERS.build(f"folder(path=/nowhere, {column}=x)")


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(SpecError, match="absolute"):
        READERS.build("folder(path=images)")


@given(
    st.dictionaries(st.sampled_from(["a.png", "b.jpg", "c.tif", "d.npy"]), st.binary(max_size=120))
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.filterwarnings("ignore")  # of decoders: they are not errors where the product runs
def test_any_bytes_end_as_a_record_or_a_rejection(tmp_path: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    (tmp_path / "x").mkdir()
    for name, data in files.items():
        (tmp_path / "x" / name).write_bytes(data)
    reader = folder(path=tmp_path)
    index = reader.index()
    assert len(index.records) + len(index.rejected) == len(files)
    for record in index.records:
        with pytest.raises(DataError):
            reader.load(record)


@given(st.binary(max_size=200))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_table_is_used_or_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "labels.csv").write_bytes(b"image,label\n" + data)
    reader = folder(path=tmp_path, labels="labels.csv")
    try:
        reader.fingerprint()
        assert not reader.index().records
    except DataError:
        return


@pytest.mark.data
def test_real_chest_radiographs_are_indexed_in_about_a_second(real_data: Path) -> None:
    reader = READERS.build(
        f"folder(path='{real_data / 'chest-xray'}', labels=labels.csv, image=file_64, "
        "label=subtype, patient=patient)"
    )
    started = time.perf_counter()
    index = reader.index()
    assert time.perf_counter() - started < 5  # 0.3 s on an idle core
    assert not index.rejected
    counted = Counter(record.label for record in index.records)
    assert counted == {"normal": 1340, "bacteria": 865, "virus": 476}
    assert len({record.group for record in index.records}) == 1764
    assert reader.load(index.records[0]).shape == (1, 64, 64)
