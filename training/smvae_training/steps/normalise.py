"""Normalisation of a batch on the device, equal to `smvae_core.preprocessing.normalise`.

The numpy function is the definition; this one exists because a GPU should get uint8 images, a
quarter of the bytes. A test holds the two equal for every kind.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.preprocessing import Statistics, affine


class BatchNormaliser(nn.Module):
    """Prepared samples (B, *shape) -> float32 network input, per modality, on any device."""

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        statistics: Mapping[str, Statistics],
        channels_last: bool = False,
    ) -> None:
        """Store the statistics as buffers, so that they move with the module.

        Raises:
            ConfigError: If a modality has no statistics or the wrong number of channels.
        """
        super().__init__()
        self._modalities = {m.name: m for m in modalities}
        self._tanh = {name for name, s in statistics.items() if s.force_scaling == "tanh"}
        self._channels_last = channels_last
        for modality in modalities:
            if modality.name not in statistics:
                raise ConfigError(f"no statistics for modality '{modality.name}'")
            self._register(modality, statistics[modality.name])

    def _register(self, modality: Modality, statistics: Statistics) -> None:
        found = affine(modality, statistics)
        if found is None or modality.name in self._tanh:
            return
        for what, values in zip(("offset", "scale"), found, strict=True):
            if what == "scale" or values.any():
                buffer = torch.from_numpy(values.copy())
                self.register_buffer(f"{modality.name}_{what}", buffer, persistent=False)

    def forward(self, prepared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._one(name, x) for name, x in prepared.items()}

    def _one(self, name: str, x: Tensor) -> Tensor:
        x = x.to(torch.float32)
        if name in self._tanh:
            return torch.tanh(x)
        offset, scale = (getattr(self, f"{name}_{what}", None) for what in ("offset", "scale"))
        if offset is not None:
            x = x - offset
        if scale is not None:
            x = x / scale
        if self._modalities[name].is_image and self._channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return x
