"""smvae_core as an ament package; the code is the folder of that name at the repository's root."""

from setuptools import find_packages, setup

setup(
    name="smvae_core",
    version="0.2.0",
    description="Bundle, runtime, preprocessing and message conversion of SMVAE",
    license="Apache-2.0",
    packages=find_packages(
        include=["smvae_core", "smvae_core.*"], exclude=["smvae_core.model", "smvae_core.model.*"]
    ),
    package_data={"smvae_core": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/smvae_core"]),
        ("share/smvae_core", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
)
