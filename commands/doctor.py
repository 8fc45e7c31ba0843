"""``fedmend doctor``: everything that would stop a site or a coordinator, before it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import typer
from rich.text import Text

from commands.console import FAILED, out
from commands.diagnosis import images, network, programs, secrets
from commands.diagnosis.finding import Finding, Level, looked, ok, warning
from commands.provisioning import certificates, keys, roll, site_file
from commands.provisioning.names import ProvisionError
from commands.provisioning.roll import Roll

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def doctor(site: Path | None, coordinator: Path | None) -> None:
    """Look at this machine, and at a site or a coordinator on it; a line each.

    Args:
        site: a ``site.toml``, its key and the CA beside it.
        coordinator: the coordinator's folder, or the one around it.

    Raises:
        ProvisionError: both are asked for.
        typer.Exit: with 1, where there is a problem.
    """
    if site and coordinator:
        raise ProvisionError("a machine is a site or a coordinator; ask for one at a time")
    findings = looked("programs", programs.versions)
    numbers: Counter[Level] = Counter()
    for part in (findings, _site(site) if site else _coordinator(coordinator)):
        for finding in part:
            numbers[finding.level] += 1
            _show(finding)
    problems = numbers[Level.PROBLEM]
    end = "s" if problems != 1 else ""
    out().print(Text(f"{problems} problem{end}, {numbers[Level.WARNING]} to see to"))
    if problems:
        raise typer.Exit(FAILED)


def _show(finding: Finding) -> None:
    line = Text(f"{finding.level.value:8}", style=_COLOURS[finding.level])
    out().print(line.append(f" {finding.subject:16} {finding.words}", style=""), soft_wrap=True)


def _site(path: Path) -> Iterator[Finding]:
    path = path.expanduser().absolute()
    folder, now = path.parent, certificates.now()
    read: list[site_file.SiteFile] = []

    def reading() -> Iterator[Finding]:
        read.append(site_file.read(path))
        yield ok("site.toml", f"site {read[0].name}, coordinator {read[0].coordinator}")

    yield from looked("site.toml", reading)
    yield from looked("key", partial(secrets.site_key, folder / "site.key"))
    yield from looked("CA", partial(secrets.authority, folder / "ca.crt", now))
    if not read:
        return  # what is left depends on what the file says
    own = read[0]
    yield from looked("images", partial(images.listed, own.data))
    yield from looked("cache", partial(images.cache, own.cache_dir))
    yield from looked("device", partial(programs.device, own.device))
    yield from looked(".env", partial(network.names_agree, own.coordinator, folder / ".env"))
    yield from looked(
        "coordinator", partial(network.coordinator, own.coordinator, folder / "ca.crt")
    )


def _coordinator(folder: Path | None) -> Iterator[Finding]:
    if folder is None:
        yield from looked("device", partial(programs.device, "auto"))
        return
    folder = folder.expanduser().absolute()
    inner = folder / "coordinator"
    folder, now = inner if inner.is_dir() else folder, certificates.now()
    read: list[Roll] = []

    def reading() -> Iterator[Finding]:
        read.append(roll.read(folder))
        yield from _sites(read[0])

    yield from looked("federation", reading)
    yield from looked("CA", partial(secrets.authority, folder / "ca.crt", now))
    yield from looked("CA key", partial(_authority_key, folder.parent / "ca" / "ca.key"))
    secret = partial(secrets.private_mode, "superexec secret", folder / "superexec.secret")
    yield from looked("superexec secret", secret)
    if read:
        yield from looked("certificate", partial(secrets.server, folder, read[0], now))
        yield from looked(
            "coordinator", partial(network.coordinator, read[0].address, folder / "ca.crt")
        )


def _sites(known: Roll) -> Iterator[Finding]:
    valid = list(known.valid())
    if not valid:
        yield warning("federation", "no site has a valid key: fedmend provision --site NAME")
    for site in valid:
        number = keys.fingerprint(site.key)
        yield ok("federation", f"site {site.name} since {site.since}, key {number}")
    for site in known.sites:
        if site.revoked:
            yield ok("federation", f"site {site.name} revoked on {site.revoked}")


def _authority_key(path: Path) -> Iterator[Finding]:
    """Look at the CA's key, which need not be on this machine, and is better not."""
    if path.exists():
        yield from secrets.private_mode("CA key", path)
