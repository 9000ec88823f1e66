"""smvae_tools: simulated robot, operators, bags, schedules and the writers of the node's files."""

from setuptools import find_packages, setup

NAME = "smvae_tools"
#: Programs that run until they are told to end; see `smvae_tools/programs.py`.
PROGRAMS = (
    "simulated_robot",
    "sensor_schedule",
    "shared_autonomy_demo",
    "imperfect_operator",
    "bag_recorder",
    "bag_player",
    "viewer",
)

setup(
    name=NAME,
    version="0.2.0",
    description="Simulated robot, operators, bags and file writers around SMVAE's node",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            *(f"{name} = {NAME}.programs:{name}" for name in PROGRAMS),
            f"generate = {NAME}.files.generate:main",
        ]
    },
)
