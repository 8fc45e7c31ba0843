"""What is installed on this machine, whatever code it is given to run.

In a real federation the coordinator's program travels to the sites with the run, and they run that.
Whether their own installation, with the libraries that belong to it, is of the same version only
its metadata tells.
"""

from __future__ import annotations

from importlib import metadata

import fedmend


def version() -> str:
    """Return the version of fedmend that is installed; that of this code where none is."""
    try:
        return metadata.version(fedmend.__name__)
    except metadata.PackageNotFoundError:
        return fedmend.__version__
