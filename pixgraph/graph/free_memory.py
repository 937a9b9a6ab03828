"""How much memory a device has left, within the limits that a container or a batch system sets."""

from __future__ import annotations

from pathlib import Path

import torch


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device in bytes; `None` where the system does not tell.

    On a CPU under Linux the smallest of what the machine has available and what the control groups of the process
    (Docker, Kubernetes, Slurm, systemd) leave of their limits; files in a group's cache count as free.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [left for left in (_available(), *_left_in_groups()) if left is not None]
    return max(0, min(known)) if known else None


def _available(root: Path = Path("/")) -> int | None:
    """What the machine has for new programs without swapping."""
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_in_groups(root: Path = Path("/")) -> list[int]:
    """What each control group above this process leaves of its limit: versions 1 and 2."""
    left = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            mount, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        group = mount / path.strip("/")
        # Inside of a container the path is often that of the host, where the mount shows the own group as its root.
        for folder in {group, *group.parents, mount}:
            if folder == mount or mount in folder.parents:
                limit, used = (_text(folder / name).strip() for name in names)
                if limit.isdigit() and used.isdigit():
                    left.append(int(limit) - int(used) + _cached_files(folder))
    return left


def _cached_files(group: Path) -> int:
    """Bytes of a group that the kernel takes back when they are needed."""
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


def _text(path: Path) -> str:
    """The content of a file; empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
