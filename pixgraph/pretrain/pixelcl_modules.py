"""The parts of `PixelCL`: heads, propagation, and a network that is read at two of its layers.

Parameters are called as in the package pixel-level-contrastive-learning, so that weights can be exchanged.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

import torch
from torch import nn

from pixgraph.errors import ConfigError
from pixgraph.pretrain.ppm import BLOCK, propagate, value_transform


class MLP(nn.Module):
    """Linear, batch norm, ReLU, linear: (B, channels) to (B, out)."""

    def __init__(self, channels: int, out: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, out)."""
        return self.net(x)


class ConvMLP(nn.Module):
    """The same for every cell: (B, channels, H, W) to (B, out, H, W)."""

    def __init__(self, channels: int, out: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Conv2d(hidden, out, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, out, H, W)."""
        return self.net(x)


class PPM(nn.Module):
    """Pixel propagation with values of any length: ``y_i = sum_j relu(cos(x_i, x_j))^gamma g(x_j)``.

    Args:
        chan: Channels C.
        num_layers: Layers of g: 0 (none), 1 (1x1 convolution) or 2 (with batch norm and ReLU between).
        gamma: Sharpness.

    Raises:
        ConfigError: Another number of layers.
    """

    def __init__(self, *, chan: int, num_layers: int = 1, gamma: float = 2) -> None:
        super().__init__()
        self.gamma = gamma
        self.transform_net = value_transform(chan, num_layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) from (B, C, H, W); large maps in pieces, whose similarities are computed twice."""
        cells = x.shape[2] * x.shape[3]
        chunk = None if len(x) * cells**2 <= BLOCK else max(1, BLOCK // (len(x) * cells))
        return propagate(x, self.transform_net(x), self.gamma, chunk=chunk)


class TappedNetwork(nn.Module):
    """A network with a projection of the map of one layer and one of the vector of another.

    Args:
        net: Any module that takes (B, 3, H, W).
        pixel_layer: Layer that gives the map (B, C, h, w): a name, or the position of a direct child.
        instance_layer: Layer that gives the vector; what follows the batch is flattened.
        projection: Channels of both projections.
        hidden: Channels inside the heads.
        image_size: Side of the pictures on which the layers' channels are measured. The network runs once, as in
            evaluation: neither its buffers nor its modes change.

    Raises:
        ConfigError: A layer is unknown or gives no tensor of the right shape, or the network does not take such
            pictures.
    """

    def __init__(
        self,
        net: nn.Module,
        pixel_layer: str | int,
        instance_layer: str | int,
        projection: int,
        hidden: int,
        image_size: int,
    ) -> None:
        super().__init__()
        self.net = net
        self.layers = layer_name(net, pixel_layer), layer_name(net, instance_layer)
        pixel, instance = self._measured(image_size)
        # `to` also takes the type: the network may be of double precision.
        self.pixel_projector = ConvMLP(pixel.shape[1], projection, hidden).to(pixel)
        self.instance_projector = MLP(instance.shape[1], projection, hidden).to(instance)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Projected map (B, D, h, w) and vector (B, D) of pictures (B, 3, H, W)."""
        pixel, instance = self.taps(x)
        return self.pixel_projector(pixel), self.instance_projector(instance)

    def taps(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, C, h, w) and vector (B, C') of the two layers.

        Raises:
            ConfigError: A layer does not run, or gives something else.
        """
        seen: dict[int, torch.Tensor] = {}
        # Hooks for this call alone: none stays in the network when it is copied or saved.
        handles = [
            self.net.get_submodule(name).register_forward_hook(_keeper(seen, which))
            for which, name in enumerate(self.layers)
        ]
        try:
            self.net(x)
        finally:
            for handle in handles:
                handle.remove()
        for which, name in enumerate(self.layers):
            if not isinstance(seen.get(which), torch.Tensor):
                got = type(seen[which]).__name__ if which in seen else "nothing"
                raise ConfigError(f"layer {name!r} of the network gives {got}, expected a tensor; choose another layer")
        if seen[0].ndim != 4:
            raise ConfigError(
                f"hidden_layer_pixel {self.layers[0]!r} gives shape {tuple(seen[0].shape)}, expected a map "
                "(B, C, h, w); choose an earlier layer"
            )
        return seen[0], seen[1].flatten(1)

    @torch.no_grad()
    def _measured(self, image_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The two layers' outputs for black pictures."""
        modes = {module: module.training for module in self.net.modules()}
        parameter = next(self.net.parameters(), torch.empty(0))
        blank = torch.zeros(2, 3, image_size, image_size, dtype=parameter.dtype, device=parameter.device)
        self.net.eval()
        try:
            return self.taps(blank)
        except (RuntimeError, ValueError, AssertionError) as error:
            why = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"image_size: the network does not take pictures of {image_size} x {image_size} pixels ({why}); "
                "choose a size that it takes"
            ) from error
        finally:
            for module, mode in modes.items():
                module.training = mode


def layer_name(net: nn.Module, layer: str | int) -> str:
    """The full name of a layer given by name, or by the position of a direct child (negative: from the last).

    Raises:
        ConfigError: There is none.
    """
    children = [name for name, _ in net.named_children()]
    if isinstance(layer, int):
        if not -len(children) <= layer < len(children):
            raise ConfigError(f"layer: got {layer}, but the network has {len(children)} children; expected one of them")
        return children[layer]
    names = [name for name, _ in net.named_modules() if name]
    if layer not in names:
        near = difflib.get_close_matches(layer, names, n=3)
        guess = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(
            f"layer: got {layer!r}, expected a module of the network, such as {', '.join(children)}{guess}"
        )
    return layer


def _keeper(seen: dict[int, torch.Tensor], which: int) -> Callable[..., None]:
    """A forward hook that stores an output."""

    def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        seen[which] = output

    return keep
