"""The app's own readers see in the files what was drawn into them, and use no broken one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client_app.synth import rsna, tree
from client_app.synth.acquisition import scanner
from client_app.synth.order import Order
from client_app.synth.pictures import Pictures
from fedmend.plugins import READERS
from tests.client_app.synth.test_tree import rows

SITES, IMAGES, BROKEN = 6, 8, 7
ORDER = Order(sites=SITES, images=IMAGES, size=40, broken=BROKEN)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synth") / "sites"
    tree.write(ORDER, root, lambda: None)
    return root


@pytest.mark.parametrize("number", range(SITES))
def test_the_dicom_reader_sees_the_phantoms(written: Path, number: int) -> None:
    site = written / f"site-{number}"
    reader = READERS.build(
        f"dicom(path={site}, labels=labels.csv, image=SOPInstanceUID, label=label, patient=patient)"
    )
    found = reader.index()
    assert len(found.records) == IMAGES
    assert len(found.rejected) == BROKEN
    pictures = Pictures(ORDER, number, count=IMAGES, classes=tree.CLASSES)
    drawn = {
        row["path"]: (row["label"], pictures.draw(record, at)[0])
        for at, (row, record) in enumerate(
            zip(rows(site / "labels.csv"), pictures.records, strict=True)
        )
    }
    for record in found.records:
        label, picture = drawn[str(record.facts["path"])]
        assert record.label == label
        error = np.abs(reader.load(record)[0].numpy() - picture).max()
        assert error <= scanner(number).grey.step / 2 + 1e-6


def test_the_rsna_reader_finds_every_image(tmp_path: Path) -> None:
    rsna.write(ORDER, tmp_path / "tree", lambda: None)
    found = READERS.build(f"rsna(path={tmp_path / 'tree'})").index()
    labelled = [record for record in found.records if record.label]
    assert len(labelled) == SITES * IMAGES
    assert len(found.records) - len(labelled) == SITES * 4
    assert {record.facts["site_id"] for record in labelled} == set(range(1, SITES + 1))
