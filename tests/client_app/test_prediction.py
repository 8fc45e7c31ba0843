"""A classifier's answers outside a run are the run's own."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from flwr.supercore.task_identity import TaskIdentity
from PIL import Image

from classification.phase import PHASE
from client_app.member import Member
from client_app.opening import reader_for
from client_app.pictures import Pictures
from client_app.prediction import Predicted, Predictor, check_device
from client_app.site import Share
from fedmend import models, plugins, randomness
from fedmend.arms import ARMS
from fedmend.errors import DataError, SettingsError
from fedmend.models import ModelFile
from fedmend.settings import Settings
from fedmend.wire import Task
from imputation import phase as imputation
from imputation.noise import mixture
from tests.federation import run, tiny

_ARMS = ("raw", "removed", "imputed", "filtered")


class Done(NamedTuple):
    folder: Path
    data: str
    tests: str
    settings: Settings
    summary: dict[str, Any]

    def classifier(self, arm: str) -> ModelFile:
        return models.read(self.folder / f"classifier-{arm}.safetensors", "classifier")

    @property
    def imputer(self) -> ModelFile:
        return models.read(self.folder / "imputer.safetensors", "imputer")

    def predicted(self, arm: str, data: str) -> Predicted:
        return predicted(self.predictor(arm), data)

    def predictor(self, arm: str) -> Predictor:
        imputer = self.imputer if ARMS[arm].mend == "imputer" else None
        return Predictor(self.classifier(arm), imputer, "cpu")


def predicted(predictor: Predictor, data: str, most: int | None = None) -> Predicted:
    """Return what becomes of a folder."""
    size, channels = predictor.size, predictor.channels
    return predictor.predict(
        Pictures(reader_for(data), size=size, channels=channels, most=most, workers=1)
    )


def _written(folder: Path) -> None:
    """Write phantoms as PNG, a third of them noisy; of some the site knows what they are."""
    phantoms = plugins.READERS.build("phantom(count=72, size=40)")
    noise = mixture.from_spec("gaussian(std=0.3)")
    rows = []
    for place, record in enumerate(phantoms.index().records):
        image = phantoms.load(record)
        if place % 3 == 0:
            image = noise(image, randomness.generator(0, record.uid)).image
        name = f"{place:02d}.png"
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(folder / name)
        vouched = {0: "yes", 5: "no", 7: "yes"}.get(place % 12, "")
        split = ("train", "train", "test", "val")[place // 3 % 4]
        rows.append((name, str(record.label), split, vouched))
    for table, chosen in (("all", rows), ("tests", [row for row in rows if row[2] == "test"])):
        with (folder / f"{table}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "label", "split", "noisy"), *chosen])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Return a whole run on real-like sites: no noise is simulated."""
    # Before any test's own fixture has said who sends.
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    root = tmp_path_factory.mktemp("run")
    (root / "png").mkdir()
    _written(root / "png")
    data, tests = (
        f"folder(path={root / 'png'}, labels={table}.csv, split=split, noisy=noisy)"
        for table in ("all", "tests")
    )
    settings = tiny(
        root, data=data, noise="none()", imputation__noise="gaussian(std=0.1..0.4)",
        arms=",".join(_ARMS), imputation__rounds=1, classification__rounds=1,
    )  # fmt: skip
    folder, summary = run(settings, sites=2)
    return Done(folder, data, tests, settings, summary)


def _of_the_run(done: Done, arm: str, cache: Path) -> dict[str, torch.Tensor]:
    """Return the run's own logits of the test images, by uid."""
    classifier = done.classifier(arm)
    member = Member("one", done.data, Share(), cache)
    site = member.site(done.settings, classifier.classes)
    task = Task(
        "tiny", "classification", arm, 1, 2, 0, classifier.classes, "imputer",
        final=True, routes=done.imputer.routes,
    )  # fmt: skip
    with torch.inference_mode():
        assert imputation.PHASE.finish is not None
        imputation.PHASE.finish(done.imputer.build(), site, done.settings, task)
        model = classifier.build()
        batches = PHASE.tests(site, done.settings, task)["noisy"]
        logits = torch.cat([model(batch.image) for batch in batches])
    return dict(zip(site.view("test-noisy").uids, logits, strict=True))


@pytest.mark.parametrize("arm", _ARMS)
def test_answers_are_the_runs_own(done: Done, arm: str, tmp_path: Path) -> None:
    found = done.predicted(arm, done.tests)
    expected = _of_the_run(done, arm, tmp_path)
    assert {each.uid for each in found.predictions} == expected.keys()
    for each in found.predictions:
        wanted = expected[each.uid].double().softmax(0).numpy()
        assert np.allclose(each.probabilities(), wanted, atol=1e-5)
    summed = done.summary["arms"][arm]["noisy"]
    classes = done.classifier(arm).classes
    right = [classes[int(each.logits.argmax())] == each.label for each in found.predictions]
    assert len(right) == summed["n"] == 18
    assert sum(right) / len(right) == summed["accuracy"]


def test_only_what_is_held_to_be_noisy_is_mended_and_a_vouched_word_wins(done: Done) -> None:
    vouched = {record.uid: record.noisy for record in reader_for(done.data).index().records}
    found = done.predicted("imputed", done.data).predictions
    for each in found:
        word = vouched[each.uid]
        assert each.flagged == (each.score > 0 if word is None else word)
        assert each.mended == each.flagged
    assert any(each.flagged != (each.score > 0) for each in found)
    assert 10 < sum(each.flagged for each in found) < 62
    raw = {each.uid: each for each in done.predicted("raw", done.data).predictions}
    assert all(raw[each.uid].flagged == each.flagged for each in found)
    assert not any(each.mended for each in raw.values())
    removed = done.predicted("removed", done.data).predictions
    assert len(removed) == len(found)  # nothing is left out, only said
    assert any(each.flagged and not each.mended for each in removed)


def test_a_vouched_word_does_not_count_where_a_simulation_kept_the_truth_to_itself(
    done: Done,
) -> None:
    classifier = done.classifier("raw")
    changed = dataclasses.replace(classifier.settings, noise="gaussian(std=0.1)", noise_known=False)
    predictor = Predictor(dataclasses.replace(classifier, settings=changed), None, "cpu")
    found = predicted(predictor, done.data).predictions
    assert all(each.flagged == (each.score > 0) for each in found)
    told = dataclasses.replace(changed, noise_known=True)
    predictor = Predictor(dataclasses.replace(classifier, settings=told), None, "cpu")
    found = predicted(predictor, done.data).predictions
    assert any(each.flagged != (each.score > 0) for each in found)


@pytest.mark.parametrize("arm", ["raw", "imputed", "filtered"])
def test_an_answer_depends_on_its_image_alone(done: Done, arm: str) -> None:
    predictor = done.predictor(arm)
    whole = predicted(predictor, done.tests).predictions
    for most in (1, 5, 16, 17):
        parts = predicted(predictor, done.tests, most).predictions
        assert [each[:-1] for each in parts] == [each[:-1] for each in whole]
        for one, other in zip(parts, whole, strict=True):
            assert one.logits.tobytes() == other.logits.tobytes()


def test_predictions_are_sorted_by_place_and_touch_no_global_generator(done: Done) -> None:
    before = torch.random.get_rng_state()
    found = done.predicted("imputed", done.tests).predictions
    assert [each.place for each in found] == sorted(each.place for each in found)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_classifier_whose_answers_overflow_is_refused(done: Done) -> None:
    file = done.classifier("raw")
    name = next(name for name, array in file.arrays.items() if array.is_floating_point())
    arrays = {**file.arrays, name: torch.full_like(file.arrays[name], 3e38)}
    predictor = Predictor(dataclasses.replace(file, arrays=arrays), None, "cpu")
    with pytest.raises(DataError, match="answers are not finite"):
        predicted(predictor, done.tests)


def _unsaid(folder: Path, count: int) -> str:
    """Write phantoms, a third of them with grain, some of it hard to see; no word on any."""
    folder.mkdir()
    phantoms = plugins.READERS.build(f"phantom(count={count}, size=40, seed=3)")
    noise = mixture.from_spec("gaussian(std=0.05..0.4)")
    rows = []
    for place, record in enumerate(phantoms.index().records):
        image = phantoms.load(record)
        if place % 3 == 0:
            image = noise(image, randomness.generator(0, record.uid)).image
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(folder / f"{place:03d}.png")
        rows.append((f"{place:03d}.png", str(record.label)))
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    return f"folder(path={folder}, labels=all.csv)"


def test_a_detector_that_learns_of_its_site_is_the_runs_own_too(done: Done, tmp_path: Path) -> None:
    data = _unsaid(tmp_path / "png", 90)
    settings = dataclasses.replace(done.settings, data=data, detector="evidence()")
    own = done._replace(data=data, settings=settings)
    expected = _of_the_run(own, "imputed", tmp_path / "cache")
    file = done.classifier("imputed")
    changed = dataclasses.replace(file.settings, detector="evidence()")
    predictor = Predictor(dataclasses.replace(file, settings=changed), done.imputer, "cpu")
    plain = {each.uid: each for each in predicted(predictor, data).predictions}
    pictures = Pictures(
        reader_for(data), size=predictor.size, channels=predictor.channels, workers=1
    )
    assert predictor.calibrate(pictures) == "the detector is calibrated on 63 of the images here"
    found = {each.uid: each for each in predictor.predict(pictures).predictions}
    site = Member("one", data, Share(), tmp_path / "cache").site(settings, file.classes)
    view = site.view("test-noisy")
    assert len(view.uids) == 18
    assert view.flagged.any()
    for row, uid in enumerate(view.uids):
        assert found[uid].score == view.score[row] != plain[uid].score
        assert found[uid].flagged == view.flagged[row]
        wanted = expected[uid].double().softmax(0).numpy()
        assert np.allclose(found[uid].probabilities(), wanted, atol=1e-5)
    assert any(found[uid].flagged != plain[uid].flagged for uid in found)


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "cpu:x"])
def test_a_device_that_is_not_there_is_refused_by_name(device: str) -> None:
    with pytest.raises(SettingsError, match=f"device '{device}' cannot be used here"):
        check_device(device)
