"""From stored pixels to a representation: what a probe sees, and what a winner's export holds."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from objectives.parts.backbone import read_out


def prepare(pixels: Tensor) -> Tensor:
    """Floats in 0..1 from stored pixels, which are uint8 in 0..255 or already such floats."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


class Encoder(nn.Module):
    """A backbone behind its normalisation: images `(B, C, H, W)` in 0..1 to features `(B, D)`."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, mean: Tensor, std: Tensor) -> None:
        """Takes the mean and deviation of each channel, `(1, C, 1, 1)` each."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.backbone = backbone

    def normalise(self, images: Tensor) -> Tensor:
        """Each channel with mean 0 and deviation 1 over the training images."""
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        return read_out(self.backbone, self.normalise(images))


def statistics(pixels: np.ndarray) -> tuple[Tensor, Tensor]:
    """The mean and deviation of each channel of stored pixels `(N, C, H, W)`, on the scale 0..1; `(1, C, 1, 1)`."""
    scale = 255.0 if pixels.dtype == np.uint8 else 1.0
    mean = pixels.mean(axis=(0, 2, 3), dtype=np.float64) / scale
    std = np.maximum(pixels.std(axis=(0, 2, 3), dtype=np.float64) / scale, 1e-3)  # a constant channel stays finite
    return tuple(torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1) for v in (mean, std))  # type: ignore[return-value]


def tensor(pixels: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """The pixels on a device; on the CPU they share the array's memory, which is only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(pixels).to(device)


@torch.no_grad()
def encode(encoder: nn.Module, pixels: Tensor, chunk: int = 512) -> np.ndarray:
    """The features `(N, D)` of stored pixels `(N, C, H, W)`, in evaluation mode, float32.

    The mode of every module is left as it was found.
    """
    training = encoder.training
    encoder.eval()
    parts = [encoder(_channels_last(prepare(some))).float().cpu() for some in pixels.split(chunk)]
    encoder.train(training)
    return torch.cat(parts).numpy()


@torch.no_grad()
def settle(encoder: nn.Module, pixels: Tensor, batch: int = 128, passes: int = 20) -> None:
    """Lets an untrained network's batch normalisation see data, so that it is measured fairly."""
    encoder.train()
    for some in pixels[: batch * passes].split(batch):
        if len(some) > 1:
            encoder(_channels_last(prepare(some)))
    encoder.eval()


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
