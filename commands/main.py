"""The ``fedmend`` command: what there is, and how each part is asked.

What a subcommand needs is imported when it is called, so that ``--help`` answers at once.
"""

from __future__ import annotations

import enum
import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from commands.console import plain_spoken

app = typer.Typer(
    name="fedmend",
    help="Mend noisy medical images across hospitals without moving them, then train on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[EXPERIMENT.toml] [KEY=VALUE]...",
        help="An experiment file, then settings that win over it, such as imputation.rounds=3 or "
        "'data=phantom(count=100)'. data=/some/folder fills the path of the experiment's own "
        "reader. Relative paths, in the file too, are taken from the working directory.",
        show_default=False,
    ),
]
Sites = Annotated[int | None, typer.Option(min=1, help="Simulated sites (4).", show_default=False)]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Sites that compute at a time (cores / threads).", show_default=False),
]


def _version(asked: bool) -> None:
    if asked:
        from fedmend import __version__

        typer.echo(f"fedmend {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a subcommand."""


@app.command()
@plain_spoken
def run(
    words: Words = None,
    sites: Sites = None,
    workers: Workers = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0, help="Share of a GPU that each worker holds.", show_default=False),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of run folders (~/.fedmend/runs); same as run-dir=…", show_default=False
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="Write what Flower and Ray say into this file.", show_default=False),
    ] = None,
) -> None:
    """Simulate a whole federation on this machine.

    Exit status: 0 done, 1 the run failed, 2 wrong use, 130 Ctrl-C.
    """
    from commands.run import Options
    from commands.run import run as work

    given = [*(words or []), *([f"run-dir={run_dir}"] if run_dir else [])]
    wanted = {"sites": sites, "workers": workers, "gpus-per-worker": gpus_per_worker}
    work(given, Options(wanted, log))


@app.command()
@plain_spoken
def check(
    words: Words = None,
    sites: Sites = None,
    workers: Workers = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Name the files that cannot be used.")
    ] = False,
) -> None:
    """Read the data as a run would, count them, and foresee time, traffic and disk."""
    from commands.check import check as work

    work(words or [], {"sites": sites, "workers": workers}, listed=listed)


@app.command()
@plain_spoken
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
) -> None:
    """Print a finished run's table again."""
    from commands.report import report as work

    work(folder)


Run = Annotated[str, typer.Argument(help="Name of a run.", show_default=False)]
RunDir = Annotated[
    Path | None, typer.Option(help="Folder of run folders (~/.fedmend/runs).", show_default=False)
]


@app.command()
@plain_spoken
def status(run: Run = "", run_dir: RunDir = None) -> None:
    """Say what is running at this coordinator, who takes part, which round it is, and what is left.

    Without a name: every run that is under way.
    """
    from commands.status import status as work

    work(run, run_dir)


@app.command()
@plain_spoken
def stop(run: Run = "", run_dir: RunDir = None) -> None:
    """End a run; it can be resumed. Real sites end what they are at with the round's deadline.

    Without a name: the one that is under way. Exit status: 0 it has ended, 1 it has not.
    """
    from commands.stop import stop as work

    work(run, run_dir)


@app.command()
@plain_spoken
def purge(
    cache_dir: Annotated[
        Path | None, typer.Option(help="The site's cache (~/.fedmend/cache).", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete every decoded and derived image that this site has kept."""
    from commands.purge import purge as work

    work(cache_dir, asked=not yes)


@app.command()
@plain_spoken
def inspect(
    path: Annotated[
        str,
        typer.Argument(
            help="A folder, a file, or a reader such as 'dicom(path=…, labels=…)'.",
            show_default=False,
        ),
    ],
    size: Annotated[
        int | None,
        typer.Option(
            help="Pixels a side at which images are scored (image-size).", show_default=False
        ),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="1 (grey) or 3 (RGB).", show_default=False)
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="Of noise, such as 'residual()'.", show_default=False)
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Images to name, the noisiest first.")] = 20,
    listed: Annotated[
        bool, typer.Option("--list", help="Name the files that cannot be used.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write every image's score, worst first.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page with the noisiest images.", show_default=False),
    ] = None,
    thumbnails: Annotated[int, typer.Option(min=0, help="Images on the page, at most.")] = 24,
    force: Annotated[bool, typer.Option("--force", help="Replace files.")] = False,
    calibrate: Annotated[
        bool, typer.Option(help="Set the detector to these images, as a run does to a site's.")
    ] = True,
) -> None:
    """Look at a folder as a run would: what is there, what is unusable, how noisy each image is.

    What it prints and writes names files and shows images: it stays at the site.
    """
    from commands.inspect import Request
    from commands.inspect import inspect as work

    given = {"image-size": size, "channels": channels, "detector": detector}
    settings = {key: value for key, value in given.items() if value is not None}
    work(Request(path, settings, worst, listed, csv, html, thumbnails, force, calibrate))


@app.command()
@plain_spoken
def predict(
    path: Annotated[
        str,
        typer.Argument(
            help="A folder, a file, or a reader such as 'dicom(path=…, labels=…)'.",
            show_default=False,
        ),
    ],
    classifier: Annotated[
        Path, typer.Option(help="A run's classifier-ARM.safetensors.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(help="CSV file to write the answers to.", show_default=False)
    ],
    imputer: Annotated[
        Path | None,
        typer.Option(
            help="The same run's imputer.safetensors, for the arm imputed.", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    listed: Annotated[
        bool, typer.Option("--list", help="Name the files that cannot be used.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    calibrate: Annotated[
        bool, typer.Option(help="Set the detector to these images, as a run does to a site's.")
    ] = True,
) -> None:
    """Classify a folder with a run's classifier, mending what it mended; no federation runs."""
    from commands.predict import Request
    from commands.predict import predict as work

    work(Request(path, classifier, imputer, out, device, force, listed, calibrate))


class Layout(enum.StrEnum):
    """How ``synth`` lays out its files."""

    DICOM = "dicom"
    RSNA = "rsna"


@app.command()
@plain_spoken
def synth(
    folder: Annotated[
        Path, typer.Argument(help="To be made, or empty as yet.", show_default=False)
    ],
    sites: Annotated[int, typer.Option(help="Hospitals.")] = 3,
    images: Annotated[int, typer.Option(help="Images per site.")] = 60,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 128,
    seed: Annotated[int, typer.Option(help="The same seed writes the same bytes.")] = 0,
    noise: Annotated[
        str, typer.Option(help="Corrupt a share of the images, such as 'gaussian(std=0.2)'.")
    ] = "none()",
    noise_share: Annotated[float, typer.Option(help="The share, from 0 to 1.")] = 0.5,
    layout: Annotated[
        Layout,
        typer.Option(help="A folder per site, or one tree as RSNA published its mammograms."),
    ] = Layout.DICOM,
    broken: Annotated[int, typer.Option(help="Unusable files per site, of every usual kind.")] = 0,
) -> None:
    """Write hospitals' worth of synthetic DICOM files, for trials and CI."""
    from client_app.synth.order import Order
    from commands.synth import synth as work

    order = Order(
        sites=sites,
        images=images,
        size=size,
        seed=seed,
        noise=noise,
        noise_share=noise_share,
        broken=broken,
    )
    work(folder, order, layout.value)


class MendingScale(enum.StrEnum):
    """At which scale ``impute`` looks at images."""

    BOTH = "both"
    FULL = "full"
    MODEL = "model"


@app.command()
@plain_spoken
def impute(
    path: Annotated[
        str,
        typer.Argument(
            help="A folder or file of DICOM, PNG, JPEG, TIFF or NPY images, or a reader such as "
            "'dicom(path=/srv/ct, window=40/400)'.",
            show_default=False,
        ),
    ],
    imputer: Annotated[
        Path, typer.Option(help="imputer.safetensors of a run folder.", show_default=False)
    ],
    to: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Folder for the mended images.", show_default=False
        ),
    ],
    scale: Annotated[
        MendingScale,
        typer.Option(
            help="full: flag and mend pixels, tile by tile; model: in the imputer's own size, and "
            "bring the difference back; both: each where noise is found."
        ),
    ] = MendingScale.BOTH,
    detector: Annotated[
        str, typer.Option(help="Spec of the detector (the imputer's run's).", show_default=False)
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the imputer.")] = 1,
    calibrate: Annotated[
        bool, typer.Option(help="Set the detector to these images, as a run does to a site's.")
    ] = True,
) -> None:
    """Mend this hospital's noisy images with a trained imputer; originals are never touched.

    What is flagged is written to DIR, DICOM as derived DICOM; DIR/mended.csv says what became of
    each image. Called again, it goes on where it was. Exit status: 0 done, 1 failed, 2 wrong use.
    """
    from commands.impute import Options
    from commands.impute import impute as work

    work(path, imputer, to, Options(detector, scale.value, device, threads, calibrate))


@app.command()
@plain_spoken
def provision(
    out: Annotated[
        Path, typer.Option(help="The federation's folder, to be made or added to.")
    ] = Path("federation"),
    coordinator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Host name or IP address of the coordinator; sites use the first one.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="That sites connect to (8443).", show_default=False)
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A hospital to add.", show_default=False),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Give the coordinator a new certificate.")
    ] = False,
) -> None:
    """Make keys, certificates and a folder per hospital for a federation of real sites."""
    from commands.provision import Wanted
    from commands.provision import provision as work

    work(out, Wanted(coordinator or [], port, site or [], renew))


@app.command()
@plain_spoken
def revoke(
    name: Annotated[str, typer.Argument(help="Of the site.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The federation's folder.")] = Path("federation"),
) -> None:
    """Take a hospital's key out of the federation."""
    from commands.provision import revoke as work

    work(name, out)


@app.command()
@plain_spoken
def register(
    folder: Annotated[Path, typer.Argument(help="The coordinator's folder.", show_default=False)],
    superlink: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Its Control API (127.0.0.1:8000).", show_default=False
        ),
    ] = "",
) -> None:
    """Tell the running SuperLink which hospitals' keys are valid, and which are not any more."""
    from commands.provision import register as work

    work(folder, superlink)


@app.command()
@plain_spoken
def doctor(
    site: Annotated[
        Path | None,
        typer.Option(metavar="SITE.toml", help="Look at this site.", show_default=False),
    ] = None,
    coordinator: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Look at this coordinator.", show_default=False),
    ] = None,
) -> None:
    """Look at everything that a hospital or a coordinator needs; exit status 1 for a problem."""
    from commands.doctor import doctor as work

    work(site, coordinator)


def main() -> None:
    """Run the command that the shell's words name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Of a terminal that is not UTF-8: names and tables have characters that it lacks.
        sys.stdout.reconfigure(errors="replace")
    app()
