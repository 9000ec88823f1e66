"""Augmentation by kind. Importing the package imports every file, and each registers its own.

Only what is observed is changed, never what is decoded: a latent of a changed sample has to explain
the samples as they were recorded (the denoising bound of Im et al. 2017).
"""

from importlib import import_module
from pkgutil import iter_modules

from smvae_training.augment.base import Sensor, augment, register

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")

__all__ = ["Sensor", "augment", "register"]
