from __future__ import annotations

import csv
import errno
import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from client_app.dicom import files
from client_app.mending import ledger
from client_app.mending.derived import Made
from client_app.mending.mender import Mender, Seen
from client_app.mending.originals import below, originals, tree_of
from client_app.mending.target import Target
from client_app.mending.unmendable import NO_BETTER
from client_app.mending.work import Summary, Work
from client_app.opening import reader_for
from client_app.readers.tree import Tree
from fedmend.errors import DataError, RunError
from tests.dicom_files import write
from tests.imputers import mender

MADE = Made("f" * 64, "detector residual(), scale both")


def noisy(path: Path, seed: int, size: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (size, size), np.uint8)).save(path)
    return path


def smooth(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.tile(np.linspace(level, level + 40, 24), (24, 1))
    Image.fromarray(ramp.astype(np.uint8)).save(path)
    return path


def worked(
    source: Path | str,
    out: Path,
    made: Made = MADE,
    *,
    seed: int = 0,
    detector: str = "residual()",
) -> Summary:
    reader = reader_for(str(source))
    target = Target(out, tree_of(reader).root)
    by = mender(seed=seed, detector=detector)
    return Work(originals(reader), by, made, target).run(lambda count: None)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / ledger.NAME).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    noisy(folder / "a" / "1.png", 1)
    noisy(folder / "b" / "2.jpg", 2)
    smooth(folder / "b" / "3.png", 60)
    (folder / "b" / "4.png").write_bytes(b"no picture")
    return folder


def test_flagged_pictures_are_mended_and_nothing_else_is_written(
    source: Path, tmp_path: Path
) -> None:
    before, out = digests(source), tmp_path / "out"
    summary = worked(source, out)
    assert summary.outcomes == Counter(mended=2, clean=1)
    assert (summary.flagged, summary.files_written, summary.looked_at) == (2, 2, 3)
    assert summary.unusable == Counter({"the file is not a PNG, JPEG, TIFF or NPY image": 1})
    assert digests(source) == before
    written = {name for name in digests(out) if name.endswith(".png")}
    assert written == {"a/1.png", "b/2.jpg.png"}
    assert [(row["source"], row["outcome"], row["output"]) for row in rows(out)] == [
        ("a/1.png", "mended", "a/1.png"),
        ("b/2.jpg", "mended", "b/2.jpg.png"),
        ("b/3.png", "clean", ""),
    ]
    assert "b/4.png" in (out / "quarantine.csv").read_text()


def test_what_is_written_is_private(source: Path, tmp_path: Path) -> None:
    worked(source, tmp_path / "out")
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_a_second_run_does_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = worked(source, out)

    def files(folder: Path) -> dict[Path, tuple[int, int]]:
        kept = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
        return {path: (each.st_ino, each.st_mtime_ns) for path, each in kept.items()}

    before = files(out)
    assert {"mended.csv", "quarantine.csv"} < {path.name for path in before}
    second = worked(source, out)
    assert second == first._replace(files_written=0, looked_at=0)
    assert files(out) == before


def test_an_interrupted_run_goes_on_where_it_was(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    worked(source, whole)
    out, write_file = tmp_path / "out", Target.write

    def killed(self: Target, name: str, data: bytes) -> None:
        if name.startswith("b/"):
            raise KeyboardInterrupt
        write_file(self, name, data)

    monkeypatch.setattr(Target, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        worked(source, out)
    monkeypatch.undo()
    assert [row["source"] for row in rows(out)] == ["a/1.png"]
    with (out / ledger.NAME).open("a") as file:
        file.write("b/2.jpg,,12.3,yes,men")  # a line half written
    summary = worked(source, out)
    assert (summary.looked_at, summary.files_written) == (2, 1)
    assert digests(out) == digests(whole)


def test_another_imputer_or_a_changed_original_is_mended_anew(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    worked(source, out)
    before = digests(out)
    other = worked(source, out, Made("e" * 64, MADE.how), seed=1)
    assert (other.looked_at, other.files_written) == (3, 2)
    assert digests(out)["a/1.png"] != before["a/1.png"]
    noisy(source / "a" / "1.png", 9)
    changed = worked(source, out, Made("e" * 64, MADE.how), seed=1)
    assert (changed.looked_at, changed.files_written, changed.files_removed) == (1, 1, 0)
    assert len(rows(out)) == 3


def moved(folder: Path, before: str, after: str) -> None:
    (folder / after).parent.mkdir(parents=True, exist_ok=True)
    (folder / before).rename(folder / after)


def test_what_was_made_of_a_renamed_original_is_renamed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    worked(source, out)
    before = digests(out)
    moved(source, "a/1.png", "c/new.png")
    moved(source, "b/2.jpg", "b/2.jpeg")
    moved(source, "b/3.png", "-b.png")
    summary = worked(source, out)
    assert (summary.looked_at, summary.files_written, summary.files_removed) == (0, 2, 2)
    after = digests(out)
    assert {name for name in after if name.endswith(".png")} == {"c/new.png", "b/2.jpeg.png"}
    assert after["c/new.png"] == before["a/1.png"]
    assert after["b/2.jpeg.png"] == before["b/2.jpg.png"]
    assert not (out / "a").exists()
    assert [(row["source"], row["output"]) for row in rows(out)] == [
        ("'-b.png", ""), ("b/2.jpeg", "b/2.jpeg.png"), ("c/new.png", "c/new.png"),
    ]  # fmt: skip
    worked(source, tmp_path / "anew")
    assert digests(tmp_path / "anew") == digests(out)
    assert worked(source, out) == summary._replace(files_written=0, files_removed=0)


@pytest.mark.parametrize(
    "renames",
    [
        [("a/1.png", "x"), ("b.png/2.png", "a/1.png"), ("x", "b.png/2.png")],
        [("b.png/2.png", "b.png/9.png"), ("a/1.png", "b.png/2.png")],
        [("a/1.png", "x"), ("x", "a/1.png/1.png")],
        [("b.png/2.png", "x"), ("b.png", "empty"), ("x", "b.png")],
    ],
    ids=["swapped", "in a row", "a folder in its place", "in a folder's place"],
)
def test_renaming_within_the_folder_comes_to_what_a_fresh_call_makes(
    tmp_path: Path, renames: list[tuple[str, str]]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    noisy(source / "a" / "1.png", 1)
    noisy(source / "b.png" / "2.png", 2)
    worked(source, out)
    for before, after in renames:
        moved(source, before, after)
    worked(source, out)
    worked(source, tmp_path / "anew")
    assert digests(out) == digests(tmp_path / "anew")


def test_a_renamed_dicom_file_keeps_its_frames(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write(source / "IM1", 1, shape=(3, 24, 24))
    worked(source, out)
    before = digests(out)["IM1"]
    (source / "IM1").rename(source / "-IM2.dcm")
    assert worked(source, out).looked_at == 0
    assert digests(out)["-IM2.dcm"] == before
    assert [row["source"] for row in rows(out)] == ["'-IM2.dcm"] * 3
    assert not (out / "IM1").exists()
    assert worked(source, out).files_written == 0


@pytest.mark.parametrize("detector", ["evidence()", "residual()"])
def test_an_image_of_one_pixel_does_not_end_the_work(tmp_path: Path, detector: str) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write(source / "dicom" / "IM1", 1, shape=(1, 1))
    write(source / "dicom" / "IM2", 2, shape=(24, 24))
    assert worked(source / "dicom", out, detector=detector).looked_at == 2
    assert rows(out)[1]["outcome"] == "mended"
    assert worked(source / "dicom", out, detector=detector).looked_at == 0
    noisy(source / "png" / "1.png", 1)
    strip = np.random.default_rng(0).integers(0, 256, (5, 40), np.uint8)
    Image.fromarray(strip).save(source / "png" / "0.png")
    summary = worked(source / "png", tmp_path / "pictures", detector=detector)
    assert (summary.looked_at, summary.unusable.total()) == (2, 0)


def test_what_trips_the_detector_is_listed_and_the_others_are_mended(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Mender.seen

    def trips(self: Mender, image: Tensor) -> Seen:
        if image.shape[-1] == 30:
            raise ValueError("-two\nlines")
        return seen(self, image)

    monkeypatch.setattr(Mender, "seen", trips)
    noisy(source / "a" / "-0.png", 5, size=30)
    out = tmp_path / "out"
    summary = worked(source, out)
    assert summary.outcomes == Counter(mended=2, clean=1, unusable=1)
    assert summary.unusable["cannot be looked at (ValueError)"] == 1
    with (out / "quarantine.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.reader(file))
    assert ["a/-0.png", "cannot be looked at (ValueError)", "'-two\\nlines"] in listed
    assert worked(source, out).looked_at == 0


@pytest.mark.parametrize("error", [RunError("the disk fails"), KeyboardInterrupt()])
def test_the_quarantine_is_listed_even_if_the_work_breaks_off(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fails(self: Mender, image: Tensor) -> Seen:
        raise error

    monkeypatch.setattr(Mender, "seen", fails)
    with pytest.raises(type(error)):
        worked(source, tmp_path / "out")
    assert "b/4.png" in (tmp_path / "out" / "quarantine.csv").read_text()


def test_what_is_no_longer_mended_goes(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    worked(source, out)
    smooth(source / "a" / "1.png", 90)
    (source / "b" / "2.jpg").unlink()
    summary = worked(source, out)
    assert (summary.outcomes, summary.files_removed) == (Counter(clean=2), 2)
    assert not list(out.rglob("*.png"))
    assert not (out / "a").exists()


def test_an_output_that_was_damaged_or_deleted_is_made_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    worked(source, out)
    before = digests(out)
    (out / "a" / "1.png").write_bytes(b"")
    (out / "b" / "2.jpg.png").unlink()
    assert worked(source, out).files_written == 2
    assert digests(out) == before


def test_the_sites_own_word_wins_over_the_detector(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    noisy(folder / "loud.png", 1)
    smooth(folder / "quiet.png", 60)
    noisy(folder / "unknown.png", 2)
    (folder / "t.csv").write_text("image,label,noisy\nloud.png,,0\nquiet.png,,1\nunknown.png,,\n")
    spec = f"folder(path={folder}, labels=t.csv, noisy=noisy)"
    summary = worked(spec, tmp_path / "out")
    assert {row["source"]: row["outcome"] for row in rows(tmp_path / "out")} == {
        "loud.png": "clean",
        "quiet.png": "not mended",  # as this imputer makes noise of it
        "unknown.png": "mended",
    }
    assert summary.flagged == 2
    assert summary.not_mended == {NO_BETTER: 1}
    (folder / "t.csv").write_text("image,label,noisy\nloud.png,,\nquiet.png,,1\nunknown.png,,\n")
    assert worked(spec, tmp_path / "out").looked_at == 1


def test_frames_of_a_file_are_judged_one_by_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    ramp = np.tile(np.linspace(900, 1500, 24), (24, 1))
    frames = np.stack([ramp, rng.integers(0, 4096, (24, 24)), ramp]).astype("<u2")
    path = write(tmp_path / "in" / "IM1", 1, shape=(3, 24, 24), PixelData=frames.tobytes())
    summary = worked(path.parent, tmp_path / "out")
    assert summary.outcomes == Counter(mended=1, clean=2)
    assert [row["output"] for row in rows(tmp_path / "out")] == ["", "IM1", ""]
    after = files.read((tmp_path / "out" / "IM1").read_bytes())
    assert np.array_equal(after.pixel_array[[0, 2]], frames[[0, 2]])
    assert not np.array_equal(after.pixel_array[1], frames[1])


def test_what_cannot_be_mended_is_listed_with_a_reason(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 4096, (24, 24)).astype("<u2").tobytes()
    own = {"PhotometricInterpretation": "PALETTE COLOR", "PixelData": noise, "shape": (24, 24)}
    for colour in ("Red", "Green", "Blue"):
        own[f"{colour}PaletteColorLookupTableDescriptor"] = [4096, 0, 16]
        table = np.linspace(0, 65535, 4096).astype("<u2").tobytes()
        own[f"{colour}PaletteColorLookupTableData"] = table
    write(tmp_path / "in" / "IM1", 1, **own)
    summary = worked(tmp_path / "in", tmp_path / "out")
    assert summary.not_mended == Counter({"its colours come from a palette": 1})
    assert rows(tmp_path / "out")[0]["reason"] == "its colours come from a palette"
    assert not (tmp_path / "out" / "IM1").exists()
    assert worked(tmp_path / "in", tmp_path / "out").looked_at == 0


@pytest.mark.parametrize("where", ["in", "in/below", "."])
def test_folders_must_lie_apart(source: Path, tmp_path: Path, where: str) -> None:
    before = digests(tmp_path)
    with pytest.raises(DataError, match="DIR must not be PATH's folder"):
        worked(source, tmp_path / where)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / where)
    with pytest.raises(DataError, match="DIR must not be PATH's folder"):
        worked(source, link)
    link.unlink()
    assert digests(tmp_path) == before


def test_a_link_never_leads_to_an_original(source: Path, tmp_path: Path) -> None:
    before, out = digests(source), tmp_path / "out"
    worked(source, out)
    (out / "a" / "1.png").unlink()
    (out / "a" / "1.png").symlink_to(source / "a" / "1.png")
    (out / "b" / "2.jpg.png").unlink()
    os.link(source / "b" / "2.jpg", out / "b" / "2.jpg.png")
    worked(source, out)
    assert digests(source) == before
    assert not (out / "a" / "1.png").is_symlink()
    (out / "a" / "1.png").unlink()
    (out / "a").rmdir()
    (out / "a").symlink_to(source / "a")
    with pytest.raises(RunError, match="a folder in DIR is a link to elsewhere"):
        worked(source, out)
    assert digests(source) == before


def test_a_folder_that_holds_something_else_is_left_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    smooth(out / "mine.png", 3)
    with pytest.raises(DataError, match="DIR must be empty"):
        worked(source, out)
    other = tmp_path / "other"
    noisy(tmp_path / "in2" / "a.png", 3)
    worked(source, other)
    with pytest.raises(DataError, match="mended images of another PATH"):
        worked(tmp_path / "in2", other)
    with pytest.raises(DataError, match="DIR is no folder"):
        worked(source, out / "mine.png")


def test_two_runs_do_not_write_at_once(source: Path, tmp_path: Path) -> None:
    target = Target(tmp_path / "out", source)
    with target.held(), pytest.raises(RunError, match="another fedmend impute"):
        worked(source, tmp_path / "out")


def test_what_a_killed_run_had_half_written_goes(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".partial-first").touch()
    target = Target(tmp_path / "out", source)
    with target.held():
        target.write("a/b.png", b"whole")
    half = target.root / "a" / ".partial-x"
    half.write_bytes(b"half")
    with target.held():
        assert not half.exists()
        assert target.read("a/b.png") == b"whole"


def test_a_full_disk_is_told_and_leaves_no_half_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out"
    with Target(out, source).held():
        pass
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="no room is left for the mended images"):
        worked(source, out)
    monkeypatch.undo()
    assert not list(out.rglob("*.png"))
    assert not list(out.rglob(".partial*"))
    assert worked(source, out).files_written == 2


def test_what_has_no_files_is_refused() -> None:
    with pytest.raises(DataError, match="only DICOM files and PNG"):
        tree_of(reader_for("phantom(count=4)"))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="there is no image to mend; 1 files cannot be used"):
        originals(reader_for(str(tmp_path)))


def test_a_path_is_taken_below_the_folder_however_it_is_written(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "x")
    assert below(tree, "a/./b.png") == below(tree, "c/../a/b.png") == "a/b.png"
    assert below(tree, str(tmp_path / "x" / "b.png")) == "b.png"
    with pytest.raises(DataError, match="outside"):
        below(tree, "../b.png")


def test_the_same_bits_whatever_was_done_before(source: Path, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    worked(source, tmp_path / "one")
    assert torch.equal(torch.random.get_rng_state(), state)
    noisy(source / "a" / "0.png", 8)
    worked(source, tmp_path / "two")
    assert digests(tmp_path / "one")["a/1.png"] == digests(tmp_path / "two")["a/1.png"]
