"""Packaging of delg: metadata, dependencies, extras and console scripts."""

import sys
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from delg.commands import MODULES  # noqa: E402
from delg.common.distribution import NAME, __version__  # noqa: E402
from delg.common.sources import PACKAGES  # noqa: E402

setup(
    name=NAME,
    version=__version__,
    description="Instance-level image retrieval: DELG global and local features, RANSAC and SuperGlobal reranking",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=[pattern for package in PACKAGES for pattern in (package, f"{package}.*")]),
    package_data={
        "evaluation": ["report/*.html", "report/*.css", "report/*.js"],
        "collection": ["serve/page/*"],
        "delg": ["py.typed"],
        "matching": ["verdict/*.json"],
        "protos": ["*.proto", "*.pyi"],
    },
    install_requires=[
        "absl-py>=2.1",
        "faiss-cpu>=1.11",
        "h5py>=3.11",
        "jinja2>=3.1",
        "keras>=3.10",
        "markupsafe>=2.1",
        "numpy>=1.26",
        "opencv-python-headless>=4.10",
        "pillow>=10.3",
        "protobuf>=6.31.1,<8",
        "scipy>=1.13",
        "tensorboard>=2.20",
        "tensorflow>=2.20",
        "tqdm>=4.66",
    ],
    extras_require={
        "bench": ["matplotlib>=3.9", "scikit-image>=0.24"],
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=0.29"],
        "milvus": ["pymilvus>=3.0", "milvus-lite>=3.0"],
        "openvino": ["nncf>=2.14", "openvino>=2025.0"],
        "hub": ["huggingface_hub>=0.30"],
        "jax": ["jax>=0.7"],
        "ray": ["ray>=2.40"],
        "serve": ["fastapi>=0.115", "python-multipart>=0.0.20", "uvicorn>=0.34"],
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"],
        "dev": [
            "milvus>=2.3; sys_platform == 'linux' and platform_machine == 'x86_64'",  # a server, for the tests
            "mypy>=1.15",
            "playwright>=1.50",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "types-protobuf",
            "types-tqdm",
        ],
    },
    entry_points={
        "console_scripts": [f"{name} = delg.commands:main" for name in ("delg", *(f"delg-{name}" for name in MODULES))]
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
