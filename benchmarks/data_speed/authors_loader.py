"""A stand-in for the loader that the authors of Vision&Touch published with their data set.

Their package needs NumPy before 1.24 and a debugger at import, so it does not run beside ours. This
one was written anew after what theirs does with files and arrays (stanford-iprl-lab,
multimodal_representation, commit e302c61), call by call:

- a sample is an index over files of 50 steps, of which the last is left out; the files are those of
  a `torch` DataLoader with a random sampler;
- for each sample two files are opened for reading (single writer, multiple readers; newest format)
  and closed: its own, and that of a step of another file with the arm elsewhere;
- read are image, depth, proprioception, force and optical flow of the step, the command,
  proprioception and contact of the next, and proprioception and force of the other file's step;
- a mask is 1 where flow is not 0; of both forces the last 32 readings are kept, squashed by tanh
  and transposed; flow and mask become channels first; all become float32 tensors.

Which step of another file belongs to a sample is drawn once, as there, but with the positions of
all files in memory; there, three files are opened for each. That is not timed here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler

EPISODE_LENGTH = 50
#: Another step's arm is at least so far away [m].
PAIR_DISTANCE_M = 0.06
READINGS = 32
#: What our model observes, by field.
OURS = ("image", "depth_data", "ee_forces_continuous", "action")


def _open(path: Path) -> h5py.File:
    return h5py.File(path, "r", swmr=True, libver="latest")


def _force(readings: NDArray[Any]) -> NDArray[Any]:
    return np.tanh(readings[-READINGS:]).transpose()


class AuthorsData(Dataset[dict[str, Tensor]]):
    """Samples as the authors' loader gives them."""

    def __init__(self, files: list[Path], seed: int = 0) -> None:
        self.files = files
        rng = np.random.default_rng(seed)
        positions = []
        for path in files:
            with _open(path) as file:
                positions.append(file["proprio"][: EPISODE_LENGTH - 1, :3])
        self.pairs: dict[tuple[int, int], tuple[int, int]] = {}
        for number, own in enumerate(positions):
            for step in range(EPISODE_LENGTH - 1):
                while True:
                    other = int(rng.integers(len(files)))
                    row = int(rng.integers(EPISODE_LENGTH - 1))
                    far = np.linalg.norm(own[step] - positions[other][row]) >= PAIR_DISTANCE_M
                    if other != number and far:
                        break
                self.pairs[number, step] = other, row

    def __len__(self) -> int:
        return len(self.files) * (EPISODE_LENGTH - 1)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, step = divmod(index, EPISODE_LENGTH - 1)
        other, row = self.pairs[number, step]
        if step >= EPISODE_LENGTH - 2:
            step = int(np.random.randint(EPISODE_LENGTH - 2))  # noqa: NPY002 (as there)
        file, unpaired = _open(self.files[number]), _open(self.files[other])
        image, depth = file["image"][step], file["depth_data"][step]
        proprio, force = file["proprio"][step][:8], file["ee_forces_continuous"][step]
        flow = np.array(file["optical_flow"][step])
        total = flow.sum(axis=2)
        mask = np.where(total == 0, np.zeros_like(total), np.ones_like(total))[..., None]
        sample = {
            "image": image,
            "depth": depth,
            "flow": flow.transpose(2, 0, 1),
            "flow_mask": mask.transpose(2, 0, 1),
            "action": file["action"][step + 1],
            "force": _force(force),
            "proprio": proprio,
            "ee_yaw_next": file["proprio"][step + 1][:4],
            "contact_next": np.array([file["contact"][step + 1].sum() > 0]).astype(float),
            "unpaired_image": image,
            "unpaired_force": _force(unpaired["ee_forces_continuous"][row]),
            "unpaired_proprio": unpaired["proprio"][row][:8],
            "unpaired_depth": depth,
        }
        file.close()
        unpaired.close()
        return {name: torch.from_numpy(values).float() for name, values in sample.items()}


class OurFields(Dataset[dict[str, Tensor]]):
    """The same way of reading at its lightest: one file, and what our model observes alone."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files) * EPISODE_LENGTH

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, step = divmod(index, EPISODE_LENGTH)
        with _open(self.files[number]) as file:
            sample = {name: file[name][step] for name in OURS}
        sample["ee_forces_continuous"] = _force(sample["ee_forces_continuous"])
        return {name: torch.from_numpy(values).float() for name, values in sample.items()}


class AuthorsLoader:
    """A turn is some shuffled batches, the workers' start included."""

    def __init__(
        self, folder: str, batch: int, batches: int, workers: int, every_field: bool
    ) -> None:
        torch.set_num_threads(1)
        files = sorted(Path(folder).glob("*.h5"))
        self.data: Dataset[dict[str, Tensor]]
        self.data = AuthorsData(files) if every_field else OurFields(files)
        self.batch, self.batches, self.workers = batch, batches, workers
        self.order = np.random.default_rng(0)
        self.about = {"files": len(files), "h5py": h5py.__version__, "torch": torch.__version__}

    def turn(self) -> dict[str, Any]:
        count = self.batch * self.batches
        length = len(self.data)  # type: ignore[arg-type]
        chosen = self.order.permutation(length)[:count].tolist()
        loader = DataLoader(
            self.data,
            batch_size=self.batch,
            num_workers=self.workers,
            sampler=SubsetRandomSampler(chosen),
            drop_last=True,
        )
        return {"samples": sum(len(batch["action"]) for batch in loader)}
