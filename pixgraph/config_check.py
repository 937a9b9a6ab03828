"""Checked construction of the configuration: unknown keys, wrong types and values out of range, each named.

The command line, YAML files and Python callers all pass here, so that a setting means and allows the same everywhere.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from pixgraph.errors import ConfigError

T = TypeVar("T")


class Bounds(NamedTuple):
    """An interval of legal numbers.

    Attributes:
        low: Smallest legal value.
        high: Largest legal value.
        open_low: Whether `low` itself is excluded.
        open_high: Whether `high` itself is excluded.
    """

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        """Whether the number is legal; NaN and infinities never are."""
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"{'>' if self.open_low else '>='} {self.low:g}"
        return f"in {'(' if self.open_low else '['}{self.low:.12g}, {self.high:.12g}{')' if self.open_high else ']'}"


POSITIVE = Bounds(0, open_low=True)
COUNT = Bounds(0)
ONE_UP = Bounds(1)
SHARE = Bounds(0, 1)
CONCENTRATION = Bounds(0, 40, open_low=True)

BOUNDS: dict[str, Bounds] = {
    "data.fold": Bounds(0, 3),
    "data.weight": POSITIVE,
    "extra.fold": Bounds(0, 3),
    "extra.weight": POSITIVE,
    "episodes.n_way": Bounds(1, 253),
    "episodes.k_shot": ONE_UP,
    "episodes.more_ways": ONE_UP,
    "episodes.more_shots": ONE_UP,
    "episodes.n_query": ONE_UP,
    "episodes.n_unlabelled": COUNT,
    "episodes.min_area": ONE_UP,
    "episodes.label_fraction": Bounds(0, 1, open_low=True),
    "episodes.num_points": ONE_UP,
    "backbone.size": Bounds(32, 4096),
    "graph.segments": Bounds(2, 16384),
    "graph.stride": Bounds(1, 64),
    "graph.num_fg": ONE_UP,
    "graph.num_bg": COUNT,
    "graph.bg_bg": COUNT,
    "graph.fg_fg": COUNT,
    "graph.fg_bg": COUNT,
    "graph.intra_ratio": SHARE,
    "graph.dilations": ONE_UP,
    "graph.connectivity": Bounds(4, 8),
    "graph.query_support_random": COUNT,
    "graph.query_support_knn": COUNT,
    "graph.query_query_knn": COUNT,
    "graph.unlabelled_knn": COUNT,
    "graph.knn_block": ONE_UP,
    "graph.edge_drop": Bounds(0, 1, open_high=True),
    "model.width": ONE_UP,
    "model.heads": ONE_UP,
    "model.encoder_blocks": COUNT,
    "model.decoder_blocks": COUNT,
    "model.pyramid": COUNT,
    "model.dropout": Bounds(0, 1, open_high=True),
    "model.input_dropout": Bounds(0, 1, open_high=True),
    "model.discriminant": COUNT,
    "model.self_support": COUNT,
    "model.diffusion": Bounds(0, 1, open_high=True),
    "loss.bce": COUNT,
    "loss.dice": COUNT,
    "loss.auxiliary": COUNT,
    "loss.supcon": COUNT,
    "loss.self_prediction": COUNT,
    "loss.unsup": COUNT,
    "loss.unsup_anchors": Bounds(2),
    "loss.target_decay": SHARE,
    "loss.temperature": POSITIVE,
    "train.steps": COUNT,
    "train.batch": ONE_UP,
    "train.lr": POSITIVE,
    "train.weight_decay": COUNT,
    "train.warmup": COUNT,
    "train.ema": Bounds(0, 1, open_high=True),
    "train.clip": POSITIVE,
    "train.val_every": ONE_UP,
    "train.val_episodes": ONE_UP,
    "train.save_every": ONE_UP,
    "train.augment": COUNT,
    "views.size": Bounds(8, 4096),
    "views.area": Bounds(0, 1, open_low=True),
    "views.aspect": POSITIVE,
    "views.flip": SHARE,
    "views.jitter": SHARE,
    "views.grayscale": SHARE,
    "views.blur": SHARE,
    "views.solarize": SHARE,
    "pixel.projection": ONE_UP,
    "pixel.hidden": ONE_UP,
    "pixel.ppm_layers": Bounds(0, 2),
    "pixel.ppm_gamma": POSITIVE,
    "pixel.ppm_clamp": Bounds(-1, 1),
    "pixel.threshold": POSITIVE,
    "pixel.temperature": POSITIVE,
    "pixel.instance_weight": COUNT,
    "pixel.momentum": SHARE,
    "pixel.reach": ONE_UP,
    "pixel.num_pairs": ONE_UP,
    "pixel.intersect_limit": ONE_UP,
    "pixel.bottleneck_weight": COUNT,
    "optim.steps": COUNT,
    "optim.batch": ONE_UP,
    "optim.accumulate": ONE_UP,
    "optim.lr": POSITIVE,
    "optim.weight_decay": COUNT,
    "optim.warmup": COUNT,
    "optim.clip": COUNT,
    "optim.workers": COUNT,
    "optim.log_every": ONE_UP,
    "optim.save_every": ONE_UP,
    "optim.val_every": ONE_UP,
    "labels.num_labeled": ONE_UP,
    "labels.fraction": Bounds(0, 1, open_low=True),
    "labels.min_classes": ONE_UP,
    "labels.seed": COUNT,
    "views.short_side": COUNT,
    "views.scale": POSITIVE,
    "teacher.decay": SHARE,
    "pseudo.weight": COUNT,
    "pseudo.conf_thresh": SHARE,
    "pseudo.pixel_threshold": SHARE,
    "pseudo.weak_threshold": SHARE,
    "contrast.weight": COUNT,
    "contrast.temperature": POSITIVE,
    "contrast.num_queries": ONE_UP,
    "contrast.num_negatives": ONE_UP,
    "contrast.threshold": SHARE,
    "val_pictures": ONE_UP,
    "head_scale": POSITIVE,
    "holdout": Bounds(0, 1, open_high=True),
    "embedding": ONE_UP,
    "cache_mb": COUNT,
    "marks.num_pictures": ONE_UP,
    "marks.num_points": ONE_UP,
    "marks.width": ONE_UP,
    "marks.thicken": COUNT,
    "marks.seed": COUNT,
    "spml.grid": ONE_UP,
    "spml.iterations": COUNT,
    "spml.num_regions": ONE_UP,
    "spml.bank": COUNT,
    "spml.bank_segments": ONE_UP,
    "spml.hidden": ONE_UP,
    "spml.dropout": Bounds(0, 1, open_high=True),
    "spml.propagate": SHARE,
    "spml.final_steps": COUNT,
    "spml.final_dropout": Bounds(0, 1, open_high=True),
    "spml.sem_ann": COUNT,
    "spml.sem_occ": COUNT,
    "spml.img_sim": COUNT,
    "spml.feat_aff": COUNT,
    "spml.k_sem_ann": CONCENTRATION,
    "spml.k_sem_occ": CONCENTRATION,
    "spml.k_img_sim": CONCENTRATION,
    "spml.k_feat_aff": CONCENTRATION,
    "broken_limit": SHARE,
    "seed": Bounds(0, 2**32 - 1),
    "n_way": Bounds(1, 253),
    "k_shot": ONE_UP,
    "episodes": ONE_UP,
    "seeds": ONE_UP,
    "pictures": ONE_UP,
    "steps": COUNT,
}
"""Legal values by dotted key; those of a list hold for each item. The last few are options of single commands."""

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def build(cls: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Fill a (nested) dataclass from plain values as YAML or JSON holds them; what is missing keeps its default.

    Args:
        cls: A dataclass such as `pixgraph.config.Config`.
        values: Its fields by name; sections are mappings.
        prefix: Dotted key of the section, for messages.

    Raises:
        ConfigError: A key is unknown or its value has the wrong type; the message starts with the dotted key.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix or 'configuration'}: expected a mapping of settings, got {values!r}")
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            close = difflib.get_close_matches(str(key), names, n=1)
            hint = f"did you mean {_join(prefix, close[0])!r}?" if close else f"known here: {', '.join(names)}"
            raise ConfigError(f"{_join(prefix, str(key))}: unknown key (value {values[key]!r}); {hint}")
    hints = get_type_hints(cls)
    return cls(**{key: _convert(hints[key], value, _join(prefix, key)) for key, value in values.items()})


def check(config: T) -> T:
    """Return `config` unchanged when every number of it is legal and no two settings contradict each other.

    Raises:
        ConfigError: Naming the dotted key, its value and the legal range.
    """
    _check_bounds(config, "")
    sections = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    device = sections.get("device", "auto")
    if not DEVICE.fullmatch(device):
        raise ConfigError(f"device: got {device!r}, expected auto, cpu, cuda, cuda:INDEX or mps")
    model, graph, backbone, loss = (sections.get(name) for name in ("model", "graph", "backbone", "loss"))
    if model is not None and model.width % model.heads:
        raise ConfigError(f"model.width: got {model.width}, expected a multiple of model.heads = {model.heads}")
    if model is not None and not (model.evidence or model.decoder_blocks):
        raise ConfigError(
            "model.decoder_blocks: got 0 with model.evidence false, expected at least 1: no label would reach a query"
        )
    if model is not None and loss is not None and model.target != (loss.unsup_form == "bgrl"):
        raise ConfigError(
            f"model.target: got {model.target} with loss.unsup_form {loss.unsup_form}, expected {not model.target}; "
            "the slow target serves the form bgrl alone"
        )
    if graph is not None and backbone is not None and graph.nodes == "pixels":
        side = backbone.size // graph.stride
        for dilation in graph.dilations:
            if dilation >= side:
                raise ConfigError(
                    f"graph.dilations: got {dilation}, expected less than the {side} nodes of a side "
                    f"(backbone.size {backbone.size} / graph.stride {graph.stride})"
                )
    return config


def legal(cls: type, key: str) -> str:
    """The legal values of a dotted key in words, e.g. ``"a number in (0, 1]"``.

    Example:
        >>> from pixgraph.config import Config
        >>> legal(Config, "graph.dilations")
        'a list of: a whole number >= 1'
    """
    hint: Any = cls
    for part in key.split("."):
        hint = get_type_hints(hint)[part]
    return _words(hint, key)


def _words(hint: Any, key: str) -> str:
    """The annotated type and the bounds of `key`, for messages."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _words(a, key) for a in args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin is list:
        return f"a list of: {_words(args[0], key)}"
    if dataclasses.is_dataclass(hint):
        return "a mapping of settings"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(hint, str(hint))
    return f"{words} {BOUNDS[key]}" if key in BOUNDS and hint in (int, float) else words


def _check_bounds(section: Any, prefix: str) -> None:
    """Compare every number below `section` with `BOUNDS`."""
    hints = get_type_hints(type(section))
    for field in dataclasses.fields(section):
        key, value = _join(prefix, field.name), getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            _check_bounds(value, key)
            continue
        for item in value if isinstance(value, list) else [value]:
            if dataclasses.is_dataclass(item):
                _check_bounds(item, key)
            elif key in BOUNDS and item is not None and item not in BOUNDS[key]:
                raise ConfigError(f"{key}: got {value}, expected {_words(hints[field.name], key)}")


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _convert(hint: Any, value: Any, key: str) -> Any:
    """`value` as the annotated type, or a `ConfigError` that names the key."""
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, key)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, key)
    if origin is list and isinstance(value, (list, tuple)):
        return [_convert(args[0], item, key) for item in value]
    if origin is Literal and value in args:
        return value
    if hint is float:
        return _number(value, key)
    # bool is a subclass of int, yet `steps: true` is a mistake
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise ConfigError(f"{key}: got {value!r}, expected {_words(hint, key)}")


def _number(value: Any, key: str) -> float:
    """A float; YAML reads ``1e-3`` as text, which is taken as the number it is meant to be."""
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
    except ValueError:
        pass
    raise ConfigError(f"{key}: got {value!r}, expected {_words(float, key)}")
