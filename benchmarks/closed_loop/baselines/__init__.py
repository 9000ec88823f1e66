"""Learned baselines of the closed loop: what else may be made of the same sensors and targets.

| method | what it is | trained on |
|---|---|---|
| `concat` | one network on all embeddings side by side, absent ones zero | a random subset |
| `router` | an expert per sensor, and a router that weighs those present | a random subset |
| `oracle` | `concat`, one network for each subset that a deciding cell leaves alive | that subset |
| `poe` | MVAE: a latent by product of experts, decoded to sensors and targets as ours | its own |

Equal to ours: embedding networks, likelihood heads of the targets and how they are trained,
records, order of batches, random subsets, steps, optimiser, and how deviations are calibrated on
held-out records. `poe` is a bundle like ours, with a novelty score of its own. The others have no
latent, hence none: they never refuse.
"""
