"""The two-dimensional, single-label data sets of MedMNIST: their classes, and how to get them.

Yang et al., "MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 10, 41 (2023).
"""

from __future__ import annotations

import importlib
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client_app.locks import held
from fedmend.errors import DataError

_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver",
    "lung-left", "lung-right", "pancreas", "spleen",
)  # fmt: skip

# The names are written here rather than asked of the medmnist package: two sites would otherwise
# disagree on their classes as soon as one of them lacks it. Commas are left out of the names, for
# the setting `classes` is a list of them by commas.
CLASSES: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "bloodmnist": (
            "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte",
            "monocyte", "neutrophil", "platelet",
        ),
        "breastmnist": ("malignant", "normal or benign"),
        "dermamnist": (
            "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
            "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
            "vascular lesions",
        ),
        "octmnist": (
            "choroidal neovascularization", "diabetic macular edema", "drusen", "normal",
        ),
        "organamnist": _ORGANS,
        "organcmnist": _ORGANS,
        "organsmnist": _ORGANS,
        "pathmnist": (
            "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle",
            "normal colon mucosa", "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        "pneumoniamnist": ("normal", "pneumonia"),
        "retinamnist": ("0", "1", "2", "3", "4"),
        "tissuemnist": (
            "collecting duct or connecting tubule", "distal convoluted tubule",
            "glomerular endothelial cells", "interstitial endothelial cells", "leukocytes",
            "podocytes", "proximal tubule segments", "thick ascending limb",
        ),
    }
)  # fmt: skip
"""Class names by data set, in the order of the labels' numbers."""


def check_name(name: str) -> None:
    """Refuse a data set that does not exist, or that no classifier here could learn.

    Raises:
        ValueError: with the reason, and the names that will do.
    """
    if name in CLASSES:
        return
    reason = "is not a data set of MedMNIST"
    if name == "chestmnist":
        reason = "has several labels an image, and one is needed"
    elif name.endswith("mnist3d"):
        reason = "holds volumes, and images are needed"
    raise ValueError(f"name: {name!r} {reason}; there is {', '.join(CLASSES)}")


def file_name(name: str, size: int) -> str:
    """Return what MedMNIST calls a data set's file.

    >>> file_name("pathmnist", 28), file_name("pathmnist", 64)
    ('pathmnist.npz', 'pathmnist_64.npz')
    """
    return f"{name}.npz" if size == 28 else f"{name}_{size}.npz"


def download(name: str, size: int, folder: Path) -> None:
    """Put a data set's file into ``folder``, if it is not there, through the medmnist package.

    The package knows where the file lies and what its checksum is. One process at a time does
    so; the file appears under its name only when it is whole.

    Raises:
        DataError: the package is not installed, or the file cannot be had or kept.
    """
    wanted = folder / file_name(name, size)
    if wanted.is_file():
        return
    package = _package()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / f".{wanted.name}.lock"
        with held(lock), tempfile.TemporaryDirectory(dir=folder) as beside:
            if not wanted.is_file():  # else another process has just brought it
                chosen = getattr(package, package.INFO[name]["python_class"])
                # Making the data set downloads it; the validation split is the least to open.
                chosen(split="val", root=beside, size=size, download=True)
                (Path(beside) / wanted.name).replace(wanted)
            lock.unlink(missing_ok=True)
    except (OSError, RuntimeError, ValueError, LookupError, AttributeError) as error:
        raise DataError(
            f"{name} cannot be downloaded: check the network, or put the file there yourself",
            local=f"{wanted}: {error}",
        ) from error


def _package() -> Any:
    try:
        return importlib.import_module("medmnist")
    except ImportError as error:
        raise DataError(
            "download=true needs the medmnist package: pip install 'fedmend[medmnist]'"
        ) from error
