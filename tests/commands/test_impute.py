from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from client_app.dicom import display, files
from client_app.dicom.values import numbers
from client_app.mending.memory import NAME
from client_app.mending.mender import Mender
from client_app.opening import reader_for
from client_app.synth import rsna, tree
from client_app.synth.order import Order
from commands.main import app
from fedmend import plugins
from imputation import quality
from tests.imputers import imputer, trained
from tests.validator import errors, needs_validator, plain

pytestmark = pytest.mark.usefixtures("one_thread")
ORDER = Order(sites=3, images=4, size=48, noise="gaussian(std=0.2)", broken=1)
PLAIN = "the detector is used as it comes: it learns nothing from 4 of the images here\n"
READER = "dicom(path={}, labels=labels.csv, image=SOPInstanceUID, label=label, noisy=noisy)"


@pytest.fixture(scope="module")
def site_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three sites, some of whose images are noisy: other scanners, other encodings."""
    folder = tmp_path_factory.mktemp("synth") / "tree"
    tree.write(ORDER, folder, lambda: None)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "imputer.safetensors"
    imputer(size=32).write(path)
    return path


@pytest.fixture(scope="module")
def able(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an imputer that takes some noise away."""
    path = tmp_path_factory.mktemp("able") / "imputer.safetensors"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    trained(size=32, noise="gaussian(std=0.2)", steps=40).write(path)
    torch.set_num_threads(before)
    return path


def invoked(path: str | Path, model: Path, out: Path, *words: str) -> Result:
    given = [str(path), "--imputer", str(model), "--out", str(out), "--threads", "1", *words]
    return CliRunner().invoke(app, ["impute", *given])


def digests(folder: Path) -> dict[Path, str]:
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def images(out: Path) -> list[Path]:
    return [path for path in digests(out) if path.parts[0] == "images"]


@pytest.mark.parametrize("site", [0, 1, 2])
def test_a_site_is_mended_and_a_second_call_does_nothing(
    site_tree: Path, model: Path, tmp_path: Path, site: int
) -> None:
    source, out = site_tree / f"site-{site}", tmp_path / "out"
    before = digests(site_tree)
    first = invoked(READER.format(source), model, out)
    assert first.exit_code == 0, first.stderr
    lines = "4 images: 2 flagged, 2 mended, 2 untouched\n2 files written\n"
    assert first.stdout == lines + PLAIN
    assert first.stderr.count("cannot be used") == 1
    assert digests(site_tree) == before
    made = digests(out)
    second = invoked(READER.format(source), model, out)
    assert second.exit_code == 0
    assert second.stdout.splitlines()[1] == "nothing to do: all of it was done before"
    assert digests(out) == made
    for name in images(out):
        old, new = (files.read((folder / name).read_bytes()) for folder in (source, out))
        assert new.SOPInstanceUID != old.SOPInstanceUID
        assert new.SeriesInstanceUID != old.SeriesInstanceUID
        assert new.StudyInstanceUID == old.StudyInstanceUID
        assert new.PatientID == old.PatientID
        assert new.ImageType[0] == "DERIVED"
        assert new.BurnedInAnnotation == old.BurnedInAnnotation
        shown, mended = display.image(old), display.image(new)
        assert shown.shape == mended.shape
        assert not torch.equal(shown, mended)


def test_the_mended_file_shows_what_the_imputer_made(
    site_tree: Path, model: Path, tmp_path: Path
) -> None:
    source, out = site_tree / "site-1", tmp_path / "out"
    assert invoked(source, model, out).exit_code == 0
    file = imputer(size=32)
    detector = plugins.DETECTORS.build(file.settings.detector)
    by = Mender(file.build(), 1, 32, detector, "both")
    assert images(out)
    for name in images(out):
        old, new = (files.read((folder / name).read_bytes()) for folder in (source, out))
        shown = display.image(old)
        wanted = by.mended(shown, by.seen(shown))
        assert wanted is not None
        # A step of the narrowest window that these scanners write.
        half = 0.5 / min(numbers(old, "WindowWidth") or (2**old.BitsStored - 1,))
        assert (display.image(new) - wanted).abs().max() <= half * 1.01 + 1e-6


def test_mended_files_are_read_as_a_site_of_their_own(
    site_tree: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    invoked(site_tree / "site-0", model, out)
    index = reader_for(str(out)).index()
    assert len(index.records) == len(images(out)) == 2


def test_the_published_mammograms_are_mended_too(model: Path, tmp_path: Path) -> None:
    order = Order(sites=1, images=4, size=48, noise="gaussian(std=0.2)")
    rsna.write(order, tmp_path / "in", lambda: None)
    result = invoked(tmp_path / "in", model, tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "files written\n" in result.stdout
    written = [path for path in digests(tmp_path / "out") if path.suffix == ".dcm"]
    assert written
    assert all((tmp_path / "in" / path).is_file() for path in written)


@needs_validator
@pytest.mark.parametrize("site", [0, 1, 2])
def test_a_validator_finds_no_error_that_the_source_did_not_have(
    site_tree: Path, model: Path, tmp_path: Path, site: int
) -> None:
    source, out = site_tree / f"site-{site}", tmp_path / "out"
    assert invoked(source, model, out).exit_code == 0
    assert images(out)
    for name in images(out):
        source_plain = tmp_path / "plain.dcm"
        source_plain.write_bytes(plain((source / name).read_bytes()))
        assert errors(out / name) <= errors(source_plain)


def test_wrong_use_is_one_sentence(site_tree: Path, model: Path, tmp_path: Path) -> None:
    source, out = site_tree / "site-0", tmp_path / "out"
    for result, sentence in (
        (invoked("phantom(count=4)", model, out), "only DICOM files and PNG"),
        (invoked(tmp_path / "absent", model, out), "there is no such file or folder"),
        (invoked(source, tmp_path / "absent", out), "the imputer file cannot be read"),
        (invoked(source, source / "labels.csv", out), "this is no imputer file of fedmend's"),
        (invoked(source, model, source / "out"), "DIR must not be PATH's folder"),
        (invoked(source, model, out, "--detector", "magic()"), "detector 'magic' does not exist"),
        (invoked(source, model, out, "--device", "abacus"), "device must be auto, cpu"),
        (invoked(source, model, out, "--scale", "huge"), "--scale"),
    ):
        assert result.exit_code == 2, result.output
        assert sentence in result.stderr
    assert not out.exists()


def test_a_file_of_another_model_says_what_it_expected(site_tree: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "imputer.safetensors", tmp_path / "out"
    file = imputer()
    wrong = {name: value[:1] for name, value in file.arrays.items()}
    dataclasses.replace(file, arrays=wrong).write(path)
    result = invoked(site_tree / "site-0", path, out)
    assert result.exit_code == 2
    assert "the imputer file does not fit autoencoder(width=4)" in result.stderr
    assert "should be" in result.stderr


def test_a_model_file_that_makes_no_sense_is_one_sentence(site_tree: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "imputer.safetensors", tmp_path / "out"
    file = imputer()
    lost = {name: torch.full_like(value, torch.nan) for name, value in file.arrays.items()}
    for change, sentence in (
        ({"spec": "autoencoder(width=10000000)"}, "the model of the imputer file cannot be built"),
        ({"arrays": lost}, "weights that are not finite"),
        ({"image_size": 8}, "contradicts itself"),
    ):
        dataclasses.replace(file, **change).write(path)
        result = invoked(site_tree / "site-0", path, out)
        assert result.exit_code == 2, result.output
        assert sentence in " ".join(result.stderr.split())
        assert "device" not in result.stderr
    assert not out.exists()


def test_a_device_with_too_little_memory_is_told_from_one_that_is_not_there(
    site_tree: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(network: object, settings: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("commands.impute.placed", full)
    result = invoked(site_tree / "site-0", model, tmp_path / "out")
    assert result.exit_code == 2
    assert "too large for the memory of device 'auto'" in " ".join(result.stderr.split())


def test_the_detector_can_be_chosen(site_tree: Path, model: Path, tmp_path: Path) -> None:
    source = site_tree / "site-0"
    result = invoked(source, model, tmp_path / "out", "--detector", "residual(threshold=19.9)")
    lines = "4 images: 0 flagged, 0 mended, 4 untouched\n0 files written\n"
    assert result.stdout == lines + PLAIN
    again = invoked(source, model, tmp_path / "out")
    assert again.stdout.startswith("4 images: 2 flagged, 2 mended")


@pytest.mark.parametrize("scale", ["full", "model"])
def test_both_scales_alone_write_other_pixels(
    site_tree: Path, able: Path, tmp_path: Path, scale: str
) -> None:
    spec, model = READER.format(site_tree / "site-2"), able
    invoked(spec, model, tmp_path / "both")
    result = invoked(spec, model, tmp_path / scale, "--scale", scale)
    assert result.exit_code == 0
    assert "2 mended" in result.stdout
    for name in images(tmp_path / "both"):
        one, other = (files.read((tmp_path / each / name).read_bytes()) for each in ("both", scale))
        assert one.SOPInstanceUID != other.SOPInstanceUID
        assert not np.array_equal(display.image(one), display.image(other))


def test_a_trained_imputer_brings_images_nearer_to_the_truth(
    site_tree: Path, tmp_path: Path
) -> None:
    """The same tree without noise is the truth; training takes seconds, and is enough."""
    path = tmp_path / "imputer.safetensors"
    trained(size=48, noise="gaussian(std=0.2)", steps=60).write(path)
    clean, out = tmp_path / "clean", tmp_path / "out"
    order = Order(sites=3, images=4, size=48)
    tree.write(order, clean, lambda: None)
    assert invoked(READER.format(site_tree / "site-2"), path, out).exit_code == 0
    gains = []
    for name in images(out):
        pictures = [
            display.image(files.read((folder / name).read_bytes()))[None]
            for folder in (clean / "site-2", site_tree / "site-2", out)
        ]
        before, after = (quality.psnr(each, pictures[0]) for each in pictures[1:])
        gains.append(float(after - before))
    assert len(gains) == 2
    assert min(gains) > 2


def textures(folder: Path, names: list[str], *, words: bool = True) -> str:
    """Write pictures whose tissue is as rough as grain; a table vouches for most of them."""
    folder.mkdir(exist_ok=True)
    ramp = np.linspace(90, 160, 48)[None, :] + np.linspace(-20, 20, 48)[:, None]
    for name in names:
        rough = np.random.default_rng(int(name[1:])).normal(0, 15, ramp.shape)
        Image.fromarray((ramp + rough).round().astype(np.uint8)).save(folder / f"{name}.png")
    rows = [f"{name}.png,a,{'0' if name[0] == 'v' else ''}" for name in names]
    (folder / "table.csv").write_text("\n".join(["image,label,noisy", *rows]) + "\n")
    return f"folder(path={folder}, labels=table.csv{', noisy=noisy' if words else ''})"


VOUCHED = [f"v{number}" for number in range(44)]
UNSAID = [f"u{number}" for number in range(100, 112)]


def flagged(result: Result) -> int:
    assert result.exit_code == 0, result.output
    return int(result.stdout.split(" flagged")[0].split()[-1])


def test_a_detector_is_set_to_the_folders_own_images(able: Path, tmp_path: Path) -> None:
    data, out = textures(tmp_path / "in", VOUCHED + UNSAID), tmp_path / "out"
    given = ("--detector", "evidence()")
    plain = invoked(data, able, tmp_path / "plain", *given, "--no-calibrate")
    assert plain.stdout.endswith("used as it comes: no calibration was asked for\n")
    assert flagged(plain) == len(UNSAID)
    set_to = invoked(data, able, out, *given)
    assert re.search("the detector is calibrated on [0-9]+ of the images here$", set_to.stdout)
    assert flagged(set_to) <= 1
    again = invoked(data, able, out, *given)
    assert "nothing to do: all of it was done before" in again.stdout


def test_images_that_come_later_are_held_to_what_the_first_ones_taught(
    able: Path, tmp_path: Path
) -> None:
    data, out = textures(tmp_path / "in", VOUCHED + UNSAID[:6]), tmp_path / "out"
    invoked(data, able, out, "--detector", "evidence()")
    kept = (out / NAME).read_bytes()
    assert (out / NAME).stat().st_mode & 0o777 == 0o600
    textures(tmp_path / "in", VOUCHED + UNSAID)
    later = invoked(data, able, out, "--detector", "evidence()")
    assert flagged(later) <= 1
    assert (out / NAME).read_bytes() == kept
    with (out / "mended.csv").open() as file:
        makes = {row["made_by"] for row in csv.DictReader(file) if row["source"][0] == "u"}
    assert len(makes) == 1
    (out / NAME).write_bytes(b"{}")
    assert "nothing to do" not in invoked(data, able, out, "--detector", "evidence()").stdout


def test_where_nothing_can_be_told_nothing_is_changed_and_it_says_so(
    able: Path, tmp_path: Path
) -> None:
    data, out = textures(tmp_path / "in", VOUCHED + UNSAID, words=False), tmp_path / "out"
    given = ("--detector", "evidence()", "--scale", "full")
    result = invoked(data, able, out, *given)
    assert flagged(result) == 0
    assert "cannot tell what is clean in 56 of the images here (unknown)" in result.stdout
    textures(tmp_path / "in", VOUCHED + UNSAID)
    told = invoked(data[:-1] + ", noisy=noisy)", able, out, *given)
    assert "the detector is calibrated on" in told.stdout
