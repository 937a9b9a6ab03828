"""Tiny copies of published data sets in their official layouts: a few noise pictures with rectangles as objects."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 32)  # height, width


def picture(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def rectangles(*boxes: tuple[int, int, int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask; boxes are (class, top, left, bottom, right)."""
    mask = np.zeros(size, np.uint8)
    for value, top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = value
    return mask


def mask_file(path: Path, mask: np.ndarray, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    if palette:
        image = image.convert("L")
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768).tolist())
    image.save(path)
    return path


def lines(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{n}\n" for n in names))
    return path


def fake_voc(root: Path, sbd: str = "png") -> Path:
    """VOC 2012 in root/VOCdevkit/VOC2012: 3 training and 3 validation pictures; SBD ("png", "mat" or "") adds 2.

    Training: 1 aeroplane; 6 bus with a contour; 1 aeroplane and 6 bus. Validation: 1, 6, and 1 with 20. SBD: 1 and 7.
    """
    voc = root / "VOCdevkit" / "VOC2012"
    box, other = (2, 2, 12, 14), (14, 16, 22, 30)
    own = {
        "2007_000001": rectangles((1, *box)),
        "2007_000002": rectangles((255, 1, 1, 13, 15), (6, *box)),
        "2007_000003": rectangles((1, *box), (6, *other)),
        "2007_000011": rectangles((1, *box)),
        "2007_000012": rectangles((6, *box)),
        "2007_000013": rectangles((1, *box), (20, *other)),
    }
    extra = {"2008_000001": rectangles((1, *box)), "2008_000002": rectangles((7, *other))}
    for seed, (name, mask) in enumerate({**own, **extra}.items()):
        picture(voc / "JPEGImages" / f"{name}.jpg", seed)
        if name in own:
            mask_file(voc / "SegmentationClass" / f"{name}.png", mask, palette=True)
        elif sbd == "png":
            mask_file(voc / "SegmentationClassAug" / f"{name}.png", mask)
        elif sbd == "mat":
            sbd_mat(root / "benchmark_RELEASE" / "dataset" / "cls" / f"{name}.mat", mask)
    if sbd == "png":
        # Aug copies of VOC's own pictures lack the contour: they must not win.
        mask_file(voc / "SegmentationClassAug" / "2007_000002.png", rectangles((6, *box)))
    lines(voc / "ImageSets" / "Segmentation" / "train.txt", *list(own)[:3])
    lines(voc / "ImageSets" / "Segmentation" / "val.txt", *list(own)[3:])
    return root


def sbd_mat(path: Path, mask: np.ndarray) -> Path:
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTcls": {"Boundaries": np.zeros(3), "Segmentation": mask, "CategoriesPresent": np.unique(mask)}})
    return path


def polygon(top: float, left: float, bottom: float, right: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def fake_coco(root: Path, year: str = "2014", below: str = "") -> Path:
    """COCO with ``instances_*.json``: three training and three validation pictures.

    Each split: a large person (id 1) under a small bicycle (2) and a crowd of cars; a cow (20); nothing.
    """
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}, {"id": 3, "name": "car"}]
    categories += [{"id": 21, "name": "cow"}]  # category numbers have gaps: 21 is class 20
    height, width = SIZE
    crowd = {"size": [height, width], "counts": [0, height * 4, height * (width - 4)]}  # the first four columns
    objects = [
        # the small one is listed first: order must come from the area
        {"image_id": 1, "category_id": 2, "iscrowd": 0, "area": 16, "segmentation": [polygon(8, 8, 12, 12)]},
        {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 280, "segmentation": [polygon(2, 2, 22, 16)]},
        {"image_id": 1, "category_id": 3, "iscrowd": 1, "area": 96, "segmentation": crowd},
        {"image_id": 2, "category_id": 21, "iscrowd": 0, "area": 64, "segmentation": [polygon(4, 4, 12, 12)]},
    ]
    for half, first in (("train", 1), ("val", 11)):
        name = f"{half}{year}"
        prefix = f"COCO_{name}_" if year == "2014" else ""
        images = []
        for i in (0, 1, 2):  # the third shows nothing
            file = f"{prefix}{first + i:012d}.jpg"
            picture(root / below / name / file, first + i)
            images.append({"id": i + 1, "file_name": file, "height": height, "width": width})
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        content = {"images": images, "annotations": objects, "categories": categories}
        (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(content))
    return root


def fake_coco_maps(root: Path) -> Path:
    """COCO as HSNet has it: annotations/<set>/*.png of class ids."""
    for half, first in (("train", 1), ("val", 11)):
        for i, mask in enumerate((rectangles((1, 2, 2, 12, 12), (2, 8, 8, 12, 12)), rectangles((20, 4, 4, 12, 12)))):
            name = f"COCO_{half}2014_{first + i:012d}"
            picture(root / f"{half}2014" / f"{name}.jpg", first + i)
            mask_file(root / "annotations" / f"{half}2014" / f"{name}.png", mask)
    return root


def fake_fss(root: Path, classes: dict[str, list[str]], layout: str = "official", pictures: int = 3) -> Path:
    """FSS-1000: split -> classes. Masks are RGBA with a soft edge; alpha is 255 everywhere."""
    for split, names in classes.items():
        lines(root / "splits" / f"{split}.txt", *names)
        for name in names:
            for k in range(1, pictures + 1):
                folders = (root / name, root / name) if layout == "official" else (root / "images" / name,) * 2
                masks = folders[1] if layout == "official" else root / "masks" / name
                picture(folders[0] / f"{k}.jpg", k, (16, 16))
                red = np.zeros((16, 16), np.uint8)
                red[3:13, 3:13], red[4:12, 4:12] = 100, 255
                rgba = np.dstack([red, red // 2, red // 2, np.full_like(red, 255)])
                masks.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rgba, "RGBA").save(masks / f"{k}.png")
    return root


def fake_cityscapes(root: Path) -> Path:
    """Two cities; label ids 7 road, 26 car, 1 ego vehicle, 255 licence plate."""
    for split, city in (("train", "aachen"), ("val", "munster")):
        for i in range(2):
            name = f"{city}_{i:06d}_000019"
            picture(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", i)
            mask = rectangles((7, 0, 0, 24, 32), (26, 4, 4, 12, 12), (1, 20, 0, 24, 32), (255, 5, 5, 6, 6))
            mask_file(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", mask)
            mask_file(root / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png", mask)
    return root


def fake_camvid(root: Path, layout: str = "segnet") -> Path:
    """Two frames a split: 0 sky everywhere, 8 car, 11 void."""
    for split in ("train", "val", "test"):
        folders = (split, f"{split}annot") if layout == "segnet" else (f"images/{split}", f"masks/{split}")
        for i in range(2):
            picture(root / folders[0] / f"{split}_{i}.png", i)
            mask_file(root / folders[1] / f"{split}_{i}.png", rectangles((8, 2, 2, 12, 12), (11, 0, 20, 24, 32)))
        names = [
            f"/SegNet/CamVid/{split}/{split}_{i}.png /SegNet/CamVid/{split}annot/{split}_{i}.png" for i in range(2)
        ]
        lines(root / f"{split}.txt", *names)
    return root


def fake_nuclei(root: Path, layout: str = "published") -> Path:
    """Pictures with two nuclei each."""
    for i in range(2):
        first, second = rectangles((255, 2, 2, 8, 8)), rectangles((255, 12, 12, 20, 20))
        if layout == "published":
            picture(root / "stage1_train" / f"id{i}" / "images" / f"id{i}.png", i)
            mask_file(root / "stage1_train" / f"id{i}" / "masks" / "a.png", first)
            mask_file(root / "stage1_train" / f"id{i}" / "masks" / "b.png", second)
        else:
            for group in ("dark", "stained"):
                picture(root / "images" / group / f"{i}.png", i)
                numbered = ((first > 0) * 1 + (second > 0) * 2).astype(np.uint16)
                mask_file(root / "instances" / group / f"{i}.png", numbered)
    return root


def fake_blood_cells(root: Path, layout: str = "published") -> Path:
    """Cells with cytoplasm around a nucleus."""
    for i in ("001", "002"):
        if layout == "published":
            picture(root / f"{i}.bmp")
            mask_file(root / f"{i}.png", rectangles((128, 2, 2, 20, 20), (255, 6, 6, 12, 12)))
        else:
            picture(root / "images" / f"{i}.png")
            mask_file(root / "masks" / f"{i}.png", rectangles((1, 2, 2, 20, 20), (2, 6, 6, 12, 12)))
    return root
