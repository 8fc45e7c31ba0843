"""LPIPS's weights for tests: those of the reference implementation, drawn by chance."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torchmetrics.functional.image.lpips import _LPIPS


def reference(net: str) -> _LPIPS:
    """Return torchmetrics' network with weights of chance; heads are not negative."""
    with torch.device("meta"):
        network = _LPIPS(pretrained=False, pnet_rand=True, net=net)  # type: ignore[arg-type]
    network = network.to_empty(device="cpu")
    network.scaling_layer.__init__()  # type: ignore[misc] # its constants went with the rest
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.startswith("lin"):
            value.uniform_(0, 1, generator=generator)
        elif value.ndim == 4:
            spread = (2 / value[0].numel()) ** 0.5
            value.normal_(0, spread, generator=generator)
        else:
            value.uniform_(-0.1, 0.1, generator=generator)
    return network.eval()


def weights_file(folder: Path, net: str) -> Path:
    """Write the reference's weights as the loss's docstring says."""
    path = folder / f"{net}.safetensors"
    safetensors.torch.save_model(reference(net), str(path))
    return path
