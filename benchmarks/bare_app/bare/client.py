"""A site: plain training loops over arrays that are already decoded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn

from fedmend import plugins
from imputation.noise import mixture

app = ClientApp()


def model_for(phase: str, config: Mapping[str, Any]) -> nn.Module:
    """Return a phase's network: the very classes that fedmend trains."""
    if phase == "classification":
        built: nn.Module = plugins.BACKBONES.build(str(config["classifier"]), 1, config["classes"])
        return built
    denoiser: nn.Module = plugins.DENOISERS.build(str(config["imputer"]), 1)
    return denoiser


class Work:
    """What one message brings: the model, and the site's arrays."""

    def __init__(self, message: Message, context: Context) -> None:
        self.config = context.run_config
        torch.set_num_threads(int(self.config["threads"]))
        self.phase = str(message.content["config"]["phase"])
        self.file = Path(str(self.config["data"])) / f"{context.node_config['partition-id']}.npz"
        with np.load(self.file) as arrays:
            self.arrays = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        network = "classification" if self.phase == "classification" else "imputation"
        self.model = model_for(network, self.config)
        self.model.load_state_dict(message.content["arrays"].to_torch_state_dict())  # type: ignore[union-attr]
        self.generator = torch.Generator().manual_seed(0)
        self.noise = mixture.from_spec(str(self.config["noise"]))

    def corrupted(self, images: Tensor) -> Tensor:
        """Return freshly corrupted images."""
        return torch.stack([self.noise(image, self.generator).image for image in images])

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return a batch's loss."""
        if self.phase == "classification":
            return functional.cross_entropy(self.model(images), labels)
        return functional.l1_loss(self.model(self.corrupted(images)).image, images)

    def fit(self, images: Tensor, labels: Tensor) -> int:
        """Train for the phase's local epochs; return the steps."""
        epochs = int(self.config[f"{self.phase}-epochs"])
        size, steps = int(self.config["batch-size"]), 0
        optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=float(self.config["learning-rate"])
        )
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=self.generator)
            for rows in torch.split(order, size):
                optimiser.zero_grad()
                self.loss(images[rows], labels[rows]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                steps += 1
        return steps

    def mend(self) -> None:
        """Replace the noisy images in the site's file by the imputer's reconstructions."""
        for split in ("train", "val", "test"):
            flagged = self.arrays[f"{split}_noisy"]
            noisy = self.arrays[split][flagged]
            with torch.inference_mode():
                parts = [self.model(part).image for part in torch.split(noisy, 16)]
            if parts:
                self.arrays[split][flagged] = torch.cat(parts).clamp(0, 1)
        mended: dict[str, Any] = {key: value.numpy() for key, value in self.arrays.items()}
        np.savez(self.file, **mended)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train for a round, or mend the site's images."""
    work = Work(message, context)
    images, labels, noisy = (work.arrays[key] for key in ("train", "train_label", "train_noisy"))
    if work.phase == "mend":
        work.mend()
    elif work.phase == "imputation":
        work.fit(images[~noisy], labels[~noisy])
    else:
        work.fit(images, labels)
    metrics = MetricRecord({"num-examples": max(len(images), 1)})
    arrays = ArrayRecord(work.model.state_dict())
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Return the validation loss."""
    work = Work(message, context)
    images, labels = work.arrays["val"], work.arrays["val_label"]
    total = 0.0
    work.model.eval()
    with torch.inference_mode():
        for part, truth in zip(torch.split(images, 16), torch.split(labels, 16), strict=True):
            total += float(work.loss(part, truth)) * len(part)
    metrics = MetricRecord(
        {"num-examples": max(len(images), 1), "loss": total / max(len(images), 1)}
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
