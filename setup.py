"""Packages, dependencies and the `smvae` command; a line says why each dependency is there."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search('__version__ = "(.+)"', (ROOT / "smvae_core/__init__.py").read_text("utf-8"))[1]

BASE = [
    "numpy>=1.26",  # arrays at every border
    "opencv-python>=4.8",  # resize, colour conversion, optical flow
    "rosbags-image>=0.10.2",  # decodes ROS images where cv_bridge does not work
]
TRAIN = [
    "torch>=2.4",  # the model
    "pytorch-lightning>=2.6",  # training loop, checkpoints, devices, DDP
    "torchmetrics>=1.4",  # PSNR and SSIM (Lightning needs it anyway)
    "h5py>=3.10",  # Vision&Touch episodes
    "safetensors>=0.4",  # weights to share, without pickle
    "onnx>=1.16",  # torch's exporter writes the bundle's graphs with it
    "tyro>=1.0.14",  # command line from dataclasses and their docstrings
    "rich>=14.3",  # progress bars and tables (a hidden bar prints nothing)
    "tensorboard>=2.16",  # training curves, live
    "scikit-learn>=1.4",  # linear probe, F1, nearest neighbours
    "matplotlib>=3.8",  # pictures in the report
    "scikit-image>=0.22",  # Canny edges of the computer-vision modalities
    "jinja2>=3.1",  # the HTML report
    "jaxtyping>=0.2.34",  # shapes in signatures (checked in tests only)
]
SIM = [
    "mujoco>=3.3.6",  # physics and rendering of the simulated robot (a body without mass)
    "h5py>=3.10",  # the episodes it writes
    "rich>=14.3",  # progress bars
]
BAGS = [
    "rosbags>=0.11.2",  # message types and the writer of rosbag2 (QoS in MCAP), without ROS
    "mcap>=1.6",  # reads MCAP of any writer (rosbags refuses foreign channels and disorder)
    "zstandard>=0.20",  # compressed messages and files of bags (mcap needs it anyway)
]
LEROBOT = [
    "pyarrow>=15",  # the tables of LeRobot folders
    "av>=15",  # their videos: OpenCV 5 decodes no AV1, and older wheels encode none
]
RAY = [
    "ray[train]>=2.60",  # many machines: training, conversion, the closed loop (240 MB)
]
DEV = [
    "pytest>=8.2",  # importorskip(exc_type)
    "pytest-xdist>=3.6",  # the tests over DDS wait: the others run beside them
    "pytest-timeout>=2.3",  # a hanging DDS test ends with a name
    "hypothesis>=6.100",  # malformed messages
    "ruff>=0.6",
    "mypy>=1.11",
    "import-linter>=2.1",  # the direction of dependencies
    "filelock>=3.12",  # benchmark queues beside each other (torch needs it anyway)
    "beartype>=0.19",  # checks jaxtyping's shapes in the tests
]

setup(
    name="smvae",
    version=VERSION,
    description="Set Multimodal VAE for robots: perception that keeps working when sensors don't",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.15",
    packages=[
        *find_packages(include=["smvae_core", "smvae_core.*"]),
        *find_packages("datasets", include=["smvae_datasets", "smvae_datasets.*"]),
        *find_packages("training", include=["smvae_training", "smvae_training.*"]),
    ],
    package_dir={
        "smvae_datasets": "datasets/smvae_datasets",
        "smvae_training": "training/smvae_training",
    },
    package_data={
        "smvae_core": ["py.typed"],
        "smvae_datasets": ["simulation/*.xml"],
        "smvae_training": ["templates/*.html"],
    },
    install_requires=BASE,
    extras_require={
        "cpu": ["onnxruntime>=1.18"],  # runs a bundle on the CPU
        "gpu": ["onnxruntime-gpu>=1.18"],  # runs a bundle on a GPU; never beside [cpu]
        "train": TRAIN,
        "sim": SIM,
        "bags": BAGS,
        "lerobot": LEROBOT,
        "ray": RAY,
        "dev": DEV,
    },
    entry_points={"console_scripts": ["smvae = smvae_training.cli:main"]},
)
