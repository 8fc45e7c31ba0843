"""Small imputers, for tests of what is done with an imputer's answers."""

from __future__ import annotations

import dataclasses

import torch

from client_app.mending.mender import Mender, Scale
from fedmend import plugins, randomness
from fedmend.models import ModelFile
from fedmend.settings import Settings
from imputation.noise import mixture


def imputer(*, channels: int = 1, size: int = 16, seed: int = 0) -> ModelFile:
    """Return a small one; it changes every picture that it is given, and sees holes nowhere."""
    spec = "autoencoder(width=4)"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = plugins.DENOISERS.build(spec, channels)
        with torch.no_grad():
            network.head.last.bias[4 * channels : 4 * channels + 4] = -9.0
    return ModelFile(
        kind="imputer",
        spec=spec,
        channels=channels,
        image_size=size,
        classes=(),
        arm="",
        settings=Settings.read(
            {"detector": "residual()", "channels": channels, "image-size": size}
        ),
        arrays={name: value.detach().clone() for name, value in network.state_dict().items()},
    )


def mender(
    scale: Scale = "both",
    *,
    channels: int = 1,
    size: int = 16,
    seed: int = 0,
    detector: str = "residual()",
) -> Mender:
    """Return one that mends with :func:`imputer`."""
    file = imputer(channels=channels, size=size, seed=seed)
    return Mender(file.build(), channels, size, plugins.DETECTORS.build(detector), scale)


def trained(*, size: int, noise: str, steps: int) -> ModelFile:
    """Return one that has learned from phantoms for a moment."""
    file = imputer(size=size)
    network = file.build().train()
    pictures = plugins.READERS.build(f"phantom(count=24, size={size}, seed=5)")
    clean = torch.stack([pictures.load(record) for record in pictures.index().records])
    corrupt = mixture.from_spec(noise)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)
    for step in range(steps):
        target = clean[step % 3 :: 3]
        noisy = [
            corrupt(image, randomness.generator("trained", step, number)).image
            for number, image in enumerate(target)
        ]
        loss = (network(torch.stack(noisy)).image - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    arrays = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return dataclasses.replace(file, arrays=arrays)
