"""Which reader a path wants, for a site that points a command at a folder or a file."""

from __future__ import annotations

from pathlib import Path

from client_app.readers import raster
from client_app.readers.tree import Tree
from fedmend import checks, plugins
from fedmend.errors import DataError
from fedmend.records import Reader
from fedmend.spec import Term

_LOOKED_AT, _PICTURES_LOOKED_AT = 20_000, 1000
"""Files that are looked at before a folder is held to have no DICOM; of those whose names say that
they are pictures, fewer do."""

_NAMED = frozenset({".dcm", ".dicom", ".ima"})
"""What files are called that ought to be DICOM, and perhaps cannot be read."""


def spec_for(text: str) -> str:
    """Return the reader's spec for what somebody pointed at.

    Args:
        text: a reader's spec, whose relative paths are taken from the working directory; or a

    Raises:
        DataError: there is no such path.
        SpecError: the spec cannot be read, or the path cannot stand in one.
    """
    if text in plugins.READERS.names() or ("(" in text and not Path(text).exists()):
        return checks.with_paths(text, plugins.READERS, lambda path: str(_absolute(path)))
    path = _absolute(text)
    if not path.exists():
        raise DataError("there is no such file or folder", local=str(path))
    return str(_of_folder(path) if path.is_dir() else _of_file(path))


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


def reader_for(text: str) -> Reader:
    """Return the reader itself; see :func:`spec_for`.

    Raises:
        DataError, SpecError: as :func:`spec_for`, or the reader refuses its parameters.
    """
    return plugins.READERS.build(spec_for(text))


def _of_file(path: Path) -> Term:
    if path.suffix.lower() == ".npz":
        return Term("medmnist", {"path": str(path)})
    here = {"path": str(path.parent), "glob": path.name}
    if _is_dicom(Tree(path.parent), path.name) or _named_dicom(path.name):
        return Term("dicom", here)
    return Term("folder", here | {"label": ""})


def _of_folder(path: Path) -> Term:
    tree, here = Tree(path), {"path": str(path)}
    if tree.status("train.csv")[0] >= 0 and (path / "train_images").is_dir():
        return Term("rsna", here)
    names = list(tree.names())
    pictures = [name for name in names if Path(name).suffix.lower() in raster.SUFFIXES]
    others = sorted(set(names).difference(pictures))
    looked_at = (*others[:_LOOKED_AT], *pictures[:_PICTURES_LOOKED_AT])
    if any(_is_dicom(tree, name) for name in looked_at):
        return Term("dicom", here)
    if not pictures and any(map(_named_dicom, others)):
        return Term("dicom", here)
    # Images beside the subfolders: these are then no classes.
    flat = any("/" not in name for name in pictures)
    return Term("folder", here | ({"label": ""} if flat else {}))


def _named_dicom(name: str) -> bool:
    return Path(name).suffix.lower() in _NAMED


def _is_dicom(tree: Tree, name: str) -> bool:
    from client_app.dicom import files  # pydicom takes a third of a second to import

    try:
        with tree.opened(name) as file:
            return files.looks_like_dicom(file.read(256))
    except DataError:
        return False
