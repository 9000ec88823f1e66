"""Other multimodal VAEs through MultiVae 1.0.3, with our networks, likelihoods and trainer.

Needs an environment of its own, since MultiVae stays out of this package's requirements:

    scripts/setup_peers.sh                       # makes .venv-peers
    .venv-peers/bin/python -c "from benchmarks.peers import build; print(build('mvae'))"

`build(method)(TrainConfig)` returns (model, objective), which `smvae_training.trainer.train` takes
as its `build`: data order, learning rate, annealing, checkpoints and resume are then those of our
own model. The model is also a `Method` (`smvae_training.evaluate.likelihood.method`), so that one
evaluator scores all. What is computed stands in the docstring of each method's module.

Given to every peer: our embedding network of each modality, to which two linear heads give mean and
log variance of a Normal; our decoders; our likelihoods, noise scale learned included; our weights
lambda; beta from 0 to 1 by mini-batch as our trainer asks; a standard Normal prior. Precision is as
in our model: networks under autocast, heads and likelihoods in float32.

What peers do not read of our settings: `present` (our random subset; MVAE, MMVAE and MoPoE have
their own way to train on subsets) and `objective.target`. A batch that lacks a modality is refused.

The shim (`benchmarks/paper/torchvision_shim.py`): MultiVae imports torchvision, and so does
torchmetrics once it is there. Where the registry's wheel, built for CUDA, meets a CPU build of
torch, its compiled operators do not load and the import ends in "operator torchvision::nms does
not exist". No peer uses them; declaring the two names is enough. `import benchmarks` does it, so
that in .venv-peers everything is started as `python -m benchmarks...`, not by the `smvae` command.

MultiVae encodes a modality once per subset; here each encoder runs once per step and its output is
kept. The loss is the same, BatchNorm's running statistics move once per step as ours do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smvae_core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from smvae_training.trainer import Build

#: Methods of the paper's comparison.
METHODS = ("mvae", "jmvae", "mmvae", "mopoe")


def build(method: str) -> Build:
    """Return what makes the model and objective of a method from a TrainConfig.

    Raises:
        ConfigError: If there is no such method.
        PeersMissing: If MultiVae is not installed here.
    """
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise ConfigError(f"unknown peer '{method}': have {known}.{did_you_mean(method, METHODS)}")
    from benchmarks.peers.registry import build as build_method

    return build_method(method)
