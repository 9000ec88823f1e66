"""Method name -> what makes its model; imports MultiVae."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.jmvae import JMVAEPeer
from benchmarks.peers.mmvae import MMVAEPeer
from benchmarks.peers.model import PeerModel
from benchmarks.peers.mopoe import MoPoEPeer
from benchmarks.peers.mvae import MVAEPeer
from benchmarks.peers.objective import objective
from smvae_core.model.objective import Objective
from smvae_training.config import TrainConfig

PEERS: dict[str, type[PeerModel]] = {
    peer.name: peer for peer in (MVAEPeer, JMVAEPeer, MMVAEPeer, MoPoEPeer)
}


def build(method: str) -> Any:
    """Return what makes (model, objective) of a method from a TrainConfig."""

    def make(config: TrainConfig) -> tuple[PeerModel, Objective]:
        return PEERS[method](config.model), objective

    return make
