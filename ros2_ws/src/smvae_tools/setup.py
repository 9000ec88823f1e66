"""smvae_tools: simulated robot, operators, bags, schedules and the writers of the node's files."""

from setuptools import find_packages, setup

NAME = "smvae_tools"
#: Program of `ros2 run smvae_tools`: the module that holds its `main`.
PROGRAMS = {
    "simulated_robot": "robot.simulated_robot",
    "sensor_schedule": "robot.sensor_schedule",
    "shared_autonomy_demo": "operators.shared_autonomy_demo",
    "imperfect_operator": "operators.imperfect_operator",
    "bag_recorder": "bags.recorder",
    "bag_player": "bags.player",
    "generate": "files.generate",
    "viewer": "viewer",
}

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
        "console_scripts": [f"{name} = {NAME}.{module}:main" for name, module in PROGRAMS.items()]
    },
)
