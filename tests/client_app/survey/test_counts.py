from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client_app.opening import reader_for
from client_app.pictures import Pictures
from client_app.survey.counts import left_over, refusals
from client_app.survey.look import Survey, look
from fedmend import plugins
from fedmend.records import Rejected
from tests.dicom_files import write


def surveyed(path: str) -> Survey:
    pictures = Pictures(reader_for(path), size=16, channels=1, workers=1)
    return look(pictures, plugins.DETECTORS.build("residual()"))


def picture(path: Path, seed: int, shape: Sequence[int] = (20, 16), bits: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if bits == 8 else np.uint16
    values = np.random.default_rng(seed).integers(0, 2**bits, shape).astype(kind)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)


def test_dicom_headers_are_counted_by_kind(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path / f"{seed}.dcm", seed, PatientID=f"P{seed // 2}", StudyInstanceUID="1.2")
    write(tmp_path / "mg.dcm", 3, Modality="MG", Manufacturer=None, ViewPosition="CC",
          ImageLaterality="L", BodyPartExamined="BREAST")  # fmt: skip
    write(tmp_path / "many.dcm", 4, shape=(4, 8, 6))
    survey = surveyed(str(tmp_path))
    assert survey.counts.totals == {"images": 8, "files": 5, "patients": 4, "studies": 3}
    kinds = survey.counts.kinds
    assert kinds["modality"] == [("CT", 7), ("MG", 1)]
    assert kinds["manufacturer"] == [("Maker", 7), ("(not said)", 1)]
    assert kinds["size (rows x columns)"] == [("8 x 6", 8)]
    assert kinds["format"] == [("Explicit VR Little Endian", 8)]
    assert kinds["photometric interpretation"] == [("MONOCHROME2", 8)]
    assert kinds["bits stored"] == [("12", 8)]
    assert kinds["view position"] == [("(not said)", 7), ("CC", 1)]
    assert kinds["laterality"] == [("(not said)", 7), ("L", 1)]
    assert kinds["body part"] == [("(not said)", 7), ("BREAST", 1)]
    assert kinds["files by frames"] == [("1", 4), ("4", 1)]
    assert kinds.keys().isdisjoint({"class", "model", "split", "vouched for as"})


def test_other_files_are_counted_by_what_applies(tmp_path: Path) -> None:
    picture(tmp_path / "ill" / "a.png", 1)
    picture(tmp_path / "ill" / "b.png", 2, bits=16)
    picture(tmp_path / "ill" / "c.jpg", 3, (16, 16, 3))
    picture(tmp_path / "well" / "d.npy", 4, bits=16)
    picture(tmp_path / "well" / "e.tif", 5, bits=16)
    np.save(tmp_path / "well" / "f.npy", np.full((20, 16), 0.5, np.float32))
    survey = surveyed(str(tmp_path))
    assert survey.counts.totals == {
        "images": 6, "files": 6, "patients": 6, "labelled images": 6,
    }  # fmt: skip
    kinds = survey.counts.kinds
    assert kinds["class"] == [("ill", 3), ("well", 3)]
    assert kinds["format"] == [("NPY", 2), ("PNG", 2), ("JPEG", 1), ("TIFF", 1)]
    assert kinds["bits stored"] == [("16", 3), ("8", 2), ("32 (float)", 1)]
    assert kinds["photometric interpretation"] == [("grey", 5), ("RGB", 1)]
    assert kinds["size (rows x columns)"] == [("20 x 16", 5), ("16 x 16", 1)]


def test_labels_rows_and_copies_find_no_use_or_are_counted(tmp_path: Path) -> None:
    for seed in range(4):
        picture(tmp_path / f"{seed}.png", seed)
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "l.csv").write_text(
        "image,label,patient,split,noisy\n0.png,ill,p,test,yes\ncopy.png,ill,p,test,yes\n"
        "1.png,well,p,test,no\n2.png,,q,train,\nabsent.png,ill,r,train,\n"
    )
    table = "labels=l.csv, patient=patient, split=split, noisy=noisy"
    survey = surveyed(f"folder(path={tmp_path}, {table})")
    assert survey.counts.totals == {
        "images": 3, "files": 3, "patients": 2, "labelled images": 2,
    }  # fmt: skip
    assert survey.counts.kinds["class"] == [("(unlabelled)", 1), ("ill", 1), ("well", 1)]
    assert survey.counts.kinds["split"] == [("test", 2), ("train", 1)]
    assert survey.counts.kinds["vouched for as"] == [
        ("(not said)", 1), ("clean", 1), ("noisy", 1),
    ]  # fmt: skip
    assert left_over(survey.refused) == {"duplicates": 1, "label rows without an image": 1}


def test_dicom_rows_and_files_that_have_not_found_each_other(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", 1)
    write(tmp_path / "copy.dcm", 1)
    write(tmp_path / "b.dcm", 2)
    (tmp_path / "l.csv").write_text("path,label\na.dcm,ill\ncopy.dcm,ill\nc.dcm,well\n")
    survey = surveyed(f"dicom(path={tmp_path}, labels=l.csv)")
    assert survey.counts.totals["images"] == 1
    assert left_over(survey.refused) == {
        "duplicates": 1, "label rows without an image": 1, "files without a label row": 1,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["x.png", "x.dcm"])
def test_what_is_no_file_is_no_row_of_labels(tmp_path: Path, name: str) -> None:
    if name.endswith("dcm"):
        write(tmp_path / "ill" / name, 7)
    else:
        picture(tmp_path / "ill" / name, 7)
    (tmp_path / "ill" / f"lost-{name}").symlink_to("nowhere")
    (tmp_path / "ill" / f"round-{name}").symlink_to(f"round-{name}")
    os.mkfifo(tmp_path / "ill" / f"pipe-{name}")
    survey = surveyed(str(tmp_path))
    assert {reason: len(files) for reason, files in survey.refused} == {
        "the link leads nowhere": 2,
        "it is a folder, a pipe or a device, not a file": 1,
    }
    assert left_over(survey.refused) == {}


@pytest.mark.parametrize("name", ["x.png", "x.dcm"])
def test_copies_are_called_so_by_every_reader(tmp_path: Path, name: str) -> None:
    for folder in ("ill", "ill/more"):
        if name.endswith("dcm"):
            write(tmp_path / folder / name, 7)
        else:
            picture(tmp_path / folder / name, 7)
    assert left_over(surveyed(str(tmp_path)).refused) == {"duplicates": 1}


def test_reasons_are_ranked_and_a_file_counts_once() -> None:
    rejected = [Rejected("a", "torn", "1"), Rejected("b", "lost"), Rejected("c", "lost")]
    rejected += [Rejected("a", "torn", "2")] * 5
    assert [(reason, len(files)) for reason, files in refusals(rejected)] == [
        ("lost", 2), ("torn", 1),
    ]  # fmt: skip
    assert refusals(rejected)[1].files == [Rejected("a", "torn", "1")]
