"""Wall time of ``fedmend run`` against a bare Flower app that takes the same training steps.

    python benchmarks/overhead.py [--repeats 3] [--out benchmarks/overhead.md]

Ten phantom sites, both phases, one arm. Both sides run the same networks on the same images with
the same batches per round, on two workers of one thread, and are timed from the command to its
end, in turns. fedmend also makes, corrupts, scores and caches the images, validates and tests with
AUROC, PSNR and SSIM, and writes checkpoints and a report; the bare app finds its arrays ready.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from client_app.member import Member
from fedmend.settings import Settings
from fedmend.site import View

HERE = Path(__file__).parent
SITES = 10
JOB: dict[str, str | int | float] = {
    "data": "phantom(count=1600)",
    "arms": "imputed",
    "imputation.rounds": 8,
    "imputation.epochs": 2,
    "classification.rounds": 8,
    "classification.epochs": 2,
    "threads": 1,
}


def flwr_home(folder: Path) -> dict[str, str]:
    """Return the environment of a bare ``flwr run`` that shares nothing with other runs."""
    ours = {
        "FLWR_HOME": str(folder / "flwr"),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": "39377",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return os.environ | ours


def arrays(view: View, name: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Return a view's images, labels and flags under a bare app's names."""
    return {
        name: view.images.take(range(len(view.uids))).numpy(),
        f"{name}_label": view.labels,
        f"{name}_noisy": view.flagged,
    }


def prepare(folder: Path) -> Path:
    """Write every site's images for the bare app; return their folder."""
    settings = Settings.parse(JOB | {"cache-dir": str(folder / "prepared")})
    out = folder / "arrays"
    out.mkdir()
    for number in range(SITES):
        node = {"partition-id": number, "num-partitions": SITES}
        site = Member.of(node, 0, settings).site(settings, ("consolidation", "nodule", "normal"))
        views = {"train": "train", "val": "val", "test": "test-noisy"}
        parts = [arrays(site.view(view), name) for name, view in views.items()]
        np.savez(out / f"{number}.npz", allow_pickle=False, **(parts[0] | parts[1] | parts[2]))
    return out


def timed_fedmend(folder: Path) -> float:
    """Return the seconds of one ``fedmend run`` with an empty cache."""
    words = [f"{key}={value}" for key, value in JOB.items()]
    words += [f"run-dir={folder / 'runs'}", f"cache-dir={folder / 'cache'}"]
    command = [str(Path(sys.executable).with_name("fedmend")), "run", *words]
    command += ["--sites", str(SITES), "--workers", "2"]
    started = time.monotonic()
    subprocess.run(command, check=True, cwd=HERE.parent)
    return time.monotonic() - started


def timed_bare(folder: Path, data: Path) -> float:
    """Return the seconds of one ``flwr run`` of the bare app."""
    settings = Settings.parse(JOB)
    config = {
        "data": str(shutil.copytree(data, folder / "data")),
        "noise": settings.imputer_noise,
        "imputer": settings.imputation.model,
        "classifier": settings.classification.model,
        "imputation-rounds": settings.imputation.rounds,
        "imputation-epochs": settings.imputation.epochs,
        "classification-rounds": settings.classification.rounds,
        "classification-epochs": settings.classification.epochs,
        "batch-size": settings.imputation.batch_size,
    }
    file = folder / "config.toml"
    lines = [f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in config.items()]
    file.write_text("\n".join(lines), encoding="utf-8")
    size = f"num-supernodes={SITES} client-resources-num-cpus=1 init-args-num-cpus=2"
    command = ["flwr", "run", str(HERE / "bare_app"), "--stream", "-c", str(file)]
    environment = flwr_home(folder)
    started = time.monotonic()
    said = subprocess.run(
        [*command, "--federation-config", size],
        check=True, cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.monotonic() - started
    end_superlink(environment["FLWR_HOME"])
    # flwr answers 0 for a run that failed; a whole one has written every site's mended images.
    mended = [path.stat().st_mtime for path in (folder / "data").glob("*.npz")]
    if len(mended) < SITES or "Error" in said.stdout:
        raise RuntimeError(f"the bare app failed:\n{said.stdout[-3000:]}")
    return seconds


def end_superlink(home: str) -> None:
    """End what ``flwr run`` leaves running."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("FLWR_HOME") == home and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue


def page(ours: list[float], bare: list[float]) -> str:
    """Return the Markdown page."""
    ratio = statistics.median(ours) / statistics.median(bare)
    rows = "\n".join(
        f"| {turn + 1} | {one:.1f} | {other:.1f} | {one / other:.2f} |"
        for turn, (one, other) in enumerate(zip(ours, bare, strict=True))
    )
    job = ", ".join(f"`{key}={value}`" for key, value in JOB.items())
    return f"""# Wall time against a bare Flower app

Made by `python benchmarks/overhead.py --repeats {len(ours)}`: {SITES} sites, two workers, {job};
everything else as by default.

{machine.described()}.

| turn | `fedmend run` (s) | bare app (s) | ratio |
|---|---|---|---|
{rows}

Ratio of the medians: **{ratio:.2f}**.
"""


def main() -> None:
    """Time both in turns and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "overhead.md")
    given = parser.parse_args()
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as root:
        data = prepare(Path(root))
        for turn in range(given.repeats):
            for side in ("ours", "bare"):
                folder = Path(root) / f"{side}-{turn}"
                folder.mkdir()
                if side == "ours":
                    ours.append(timed_fedmend(folder))
                else:
                    bare.append(timed_bare(folder, data))
            sys.stdout.write(f"{ours[-1]:.1f} s against {bare[-1]:.1f} s\n")
    given.out.write_text(page(ours, bare), encoding="utf-8")
    sys.stdout.write(f"wrote {given.out}\n")


if __name__ == "__main__":
    main()
