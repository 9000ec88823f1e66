"""The methods that are compared: our model with a pooling and a target, and MultiVae's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

from benchmarks.peers import METHODS as PEERS
from smvae_core.model.config import Covariance, Pooling
from smvae_core.model.objective_config import Target
from smvae_training.config import TrainConfig
from smvae_training.trainer import Build, build_smvae

#: Set encoders and targets that are compared among our own, as 'POOLING-TARGET'.
ABLATED = (
    *(f"{pooling}-subset" for pooling in get_args(Pooling)),
    "evidence-observed",
    "evidence-remaining",
    "evidence-joint",
    "evidence_attention-joint",
    "paper-joint",
)
#: Ours and what it is compared with.
COMPARED = ("smvae", *PEERS, "smvae-paper", "hirt")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One method: a peer of MultiVae, or our model with a pooling and a target."""

    name: str
    about: str
    peer: bool = False
    pooling: Pooling | None = None
    """None: the preset's, which is our default."""
    covariance: Covariance | None = None
    """None: the preset's. A peer has its own posteriors and does not read it."""
    target: Target | None = None
    """None: the preset's. A target is taken without second bound and complement, one sample."""

    def build(self) -> Build:
        """Return what makes the model and the objective."""
        if not self.peer:
            return build_smvae
        from benchmarks.peers import build

        return build(self.name)

    def passes(self, config: TrainConfig) -> dict[str, Any]:
        """Return how often each modality's networks run per record and step."""
        if not self.peer:
            return _own_passes(config)
        model, _ = self.build()(config)
        passes: Any = model.passes
        return asdict(passes)


def _own_passes(config: TrainConfig) -> dict[str, float]:
    objective, half = config.objective, 2 ** (len(config.model.modalities) - 1)
    share = half / (2 * half - 1)  # of the non-empty subsets hold a given modality
    draws = 2 if objective.complement else 1
    if objective.target == "subset":
        return {"embedding": min(1.0, draws * share), "decoder": draws * share}
    if objective.target == "observed":
        return {"embedding": min(1.0, draws * share), "decoder": draws}
    second = {"none": 0.0, "subset": 0.5, "observed": 1.0}[objective.second_bound]  # proper ones
    return {"embedding": 1.0, "decoder": objective.samples + second}


def _ablated(name: str) -> Variant:
    pooling: Any
    target: Any
    pooling, target = name.rsplit("-", 1)
    return Variant(
        name=name, about=f"pooling {pooling}, target {target}", pooling=pooling, target=target
    )


METHODS = {
    m.name: m
    for m in (
        Variant(name="smvae", about="ours: the preset's set encoder and objective"),
        Variant(
            name="smvae-diagonal", about="ours with a diagonal posterior", covariance="diagonal"
        ),
        *(
            Variant(name=name, about="through MultiVae", peer=True, covariance="diagonal")
            for name in PEERS
        ),
        Variant(
            name="smvae-paper",
            about="the paper's: attention of one query, target of Eq. 3",
            pooling="paper",
            covariance="diagonal",
            target="subset",
        ),
        Variant(
            name="hirt",
            about="Hirt et al.: self-attention, then a sum; their objective",
            pooling="hirt",
            covariance="diagonal",
            target="remaining",
        ),
        *map(_ablated, ABLATED),
    )
}
