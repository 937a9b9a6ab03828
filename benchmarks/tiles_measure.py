"""What `speed_tiles.py` measures: accuracy and seams in its own process, time and memory in a process a setting."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from query_stages import resident
from tiles_picture import LargePicture
from tiles_seams import mean_iou, seams
from workbench import backbone_config

from pixgraph.data.images import read_mask
from pixgraph.prediction import predict_folder
from pixgraph.segmenter import FewShotSegmenter
from pixgraph.tiling import Tiling
from pixgraph.training.checkpoint import load_network

FILES = ("picture", "truth", "support", "mask")


def segmenter(args: argparse.Namespace, size: int, tiling: Tiling | None) -> FewShotSegmenter:
    """The method of the arguments at a working size, with or without tiles."""
    tile, overlap = (None, None) if tiling is None else (tiling.tile, tiling.overlap)
    if args.run:
        own = load_network(args.run).config
        own.backbone.size, own.backbone.weights = size, args.weights or own.backbone.weights
        return FewShotSegmenter(
            "graph", own.backbone, graph=own.graph, checkpoint=args.run, device="cpu", tile=tile, overlap=overlap
        )
    config = backbone_config(args)
    config.size = size
    return FewShotSegmenter("propagate", config, device="cpu", tile=tile, overlap=overlap)


def accuracy(args: argparse.Namespace, picture: LargePicture, tiling: Tiling | None, size: int) -> dict[str, Any]:
    """Mean IoU, seams and seconds of one way to predict the picture."""
    method = segmenter(args, size, tiling).fit(picture.support_rgb, picture.support_mask)
    begin = time.perf_counter()
    values, mask = [], np.empty(picture.truth.shape, np.uint8)
    for top, strip in method.predict_strips(picture.rgb, progress=True):
        mask[top : top + strip.shape[1]] = method.mask_of(strip)
        values.append(strip.astype(np.float16))
    seconds = time.perf_counter() - begin
    found: dict[str, Any] = {
        "tile": tiling.tile if tiling else None,
        "overlap": tiling.overlap if tiling else None,
        "size": size,
        "tiles": len(tiling.axis(len(mask)).starts) ** 2 if tiling else 1,
        "miou": round(mean_iou(mask, picture.truth, method.classes_), 4),
        "seconds": round(seconds, 2),
    }
    if tiling is not None:
        found["seams"] = seams(np.concatenate(values, 1), mask, tiling, size)
    return {**found, "mask": mask}


def write_pictures(picture: LargePicture, folder: Path) -> None:
    """The files that `cost` reads."""
    arrays = (picture.rgb, picture.truth, picture.support_rgb, picture.support_mask)
    for name, array in zip(FILES, arrays, strict=True):
        Image.fromarray(array).save(folder / f"{name}.png")


def cost(args: argparse.Namespace, side: int, tiling: Tiling | None, size: int, folder: Path) -> dict[str, Any]:
    """Seconds and memory of one setting in a process of its own; or why there are none."""
    words = [sys.executable, str(Path(__file__).with_name("speed_tiles.py")), "--child", str(folder)]
    words += ["--sides", str(side), "--size", str(size), "--limit_gb", str(args.limit_gb)]
    words += ["--tile", "0"] if tiling is None else ["--tile", str(tiling.tile), "--overlap", str(tiling.overlap)]
    for key in ("data", "weights", "backbone", "run"):
        value = getattr(args, key)
        words += [] if value is None else [f"--{key}", str(value)]
    setting = {"side": side, "size": size, "tile": tiling.tile if tiling else None}
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
        errors.seek(0)
        if done.returncode:
            return {**setting, "failed": _reason(errors.read(), args.limit_gb)}
    return {**setting, **json.loads(done.stdout.splitlines()[-1])}


def measure_cost(args: argparse.Namespace) -> dict[str, Any]:
    """In the child: fit, then predict the picture to files as `pixgraph predict` does, probabilities included."""
    limit = int(args.limit_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    folder = Path(args.child)
    tiling = Tiling(args.tile, args.overlap) if args.tile else None
    method = segmenter(args, args.size, tiling)
    begin = time.perf_counter()
    method.fit(folder / "support.png", folder / "mask.png")
    fit_seconds = time.perf_counter() - begin
    gc.collect()
    fit_peak = forget_peak()
    before = resident("VmRSS")
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        results = predict_folder(method, folder / "picture.png", out, probabilities=True, progress=True)
        seconds = time.perf_counter() - begin
        peak = resident("VmHWM")
        answer = read_mask(Path(out) / results[0].mask)
    pixels = answer.size
    return {
        "miou": round(mean_iou(answer, read_mask(folder / "truth.png"), method.classes_), 4),
        "seconds": round(seconds, 2),
        "fit_seconds": round(fit_seconds, 2),
        "before_mb": before,
        "peak_mb": peak,
        "fit_peak_mb": fit_peak,
        "picture_and_mask_mb": round(4 * pixels / 2**20, 1),
        "beyond_mb": round(peak - before - 4 * pixels / 2**20, 1),
    }


def forget_peak() -> float:
    """The peak of resident memory until now in MB; from here on a new one is measured, where the system allows."""
    peak, switch = resident("VmHWM"), Path("/proc/self/clear_refs")
    if switch.is_file():
        switch.write_text("5")
    return peak


def _reason(errors: str, limit: float) -> str:
    if any(word in errors for word in ("allocate memory", "MemoryError", "Unable to allocate", "bad_alloc")):
        return f"needs more than {limit:g} GB"
    last = errors.strip().splitlines()[-1:]
    return " ".join(last) or "stopped by the system, probably for memory"
