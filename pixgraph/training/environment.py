"""What a run's numbers may depend on besides its configuration: versions, machine, threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

import torch

from pixgraph.version import __version__

PACKAGES = ("torch", "torchvision", "dgl", "faiss-cpu", "faiss-gpu", "numpy", "scipy", "pillow", "safetensors", "timm")


def environment(device: torch.device | str = "cpu", processes: int = 1) -> dict[str, Any]:
    """Versions of pixgraph, Python and the packages that compute (`None`: not installed), platform, device, threads."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "pixgraph": __version__,
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
