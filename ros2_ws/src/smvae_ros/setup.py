"""smvae_ros: the lifecycle node, its launch file, parameters and profiles."""

from glob import glob

from setuptools import find_packages, setup

NAME = "smvae_ros"

setup(
    name=NAME,
    version="0.2.0",
    description="SMVAE as a ROS 2 lifecycle node",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
        (f"share/{NAME}/config", glob("config/*")),
        (f"share/{NAME}/rviz", glob("rviz/*.rviz")),
        (f"share/{NAME}/foxglove", glob("foxglove/*.json")),
        (f"share/{NAME}/plotjuggler", glob("plotjuggler/*.xml")),
        (f"share/{NAME}/security", glob("security/*.xml")),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    entry_points={
        "console_scripts": ["perception_node = smvae_ros.programs:perception_node"],
    },
)
