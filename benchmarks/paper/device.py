"""Where models of the benchmarks compute."""

import torch


def choose_device() -> str:
    """Return 'cuda' where there is a GPU, else 'cpu'."""
    return "cuda" if torch.cuda.is_available() else "cpu"
