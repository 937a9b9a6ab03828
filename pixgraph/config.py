"""Every setting of pixgraph, as dataclasses: the command line, YAML files and Python all fill the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class SourceConfig:
    """Where episodes come from.

    Attributes:
        name: Data set: one of `pixgraph data list`.
        root: Its folder; not needed for "synthetic".
        fold: Fold of PASCAL-5i and COCO-20i.
        convention: Fold convention of COCO-20i.
        parts: Take part classes where the data set has them, instead of whole objects.
        crops: Turn every object of a densely labelled data set into a square-ish crop of its own.
        exclude: Class names that must not be shown (to keep novel classes out of additional sources).
        weight: How often this source is drawn, relative to the others.
        split: Split that gives the training episodes; a folder used only for training may give "all" its classes.
    """

    name: str = "synthetic"
    root: str | None = None
    fold: int = 0
    convention: Literal["interleaved", "contiguous"] = "interleaved"
    parts: bool = False
    crops: bool = False
    exclude: list[str] = field(default_factory=list)
    weight: float = 1.0
    split: Literal["train", "all"] = "train"


@dataclass
class EpisodeConfig:
    """How episodes are drawn.

    Attributes:
        n_way: Foreground classes in an episode, N.
        more_ways: Other N that training episodes have as often; with N = 1 alone every query shows the class that is
            asked for, and nothing teaches what an absent one looks like.
        k_shot: Labelled pictures of each class, K.
        more_shots: Other K that training episodes have as often; validation and scores keep to `k_shot`.
        n_query: Pictures to segment.
        n_unlabelled: Pictures without labels in the episode, U.
        min_area: Smallest object, in pixels of the original picture.
        label_fraction: Share of the training pictures that keep their mask, in (0, 1]; the rest serve as unlabelled.
        support_annotation: What the supports show of their masks; "mix" draws masks, points, scribbles or boxes for
            each.
        num_points: Points of each class and of the background, where they show points.
    """

    n_way: int = 1
    more_ways: list[int] = field(default_factory=list)
    k_shot: int = 1
    more_shots: list[int] = field(default_factory=list)
    n_query: int = 1
    n_unlabelled: int = 0
    min_area: int = 1
    label_fraction: float = 1.0
    support_annotation: Literal["masks", "points", "scribbles", "boxes", "mix"] = "masks"
    num_points: int = 5


@dataclass
class BackboneConfig:
    """The frozen CNN that gives the node embeddings.

    Attributes:
        name: "filters" (built in), a torchvision CNN such as "mobilenet_v2", "timm:NAME", "deeplabv3plus:ENCODER", or a
            UNet: "unet", "unet-small", "unet:ENCODER"; with "+pixels" at its end, a UNet keeps one vector a pixel.
        weights: File of weights (safetensors or a state_dict), or run folder of a pretraining, which also tells the
            name; none: "filters" needs none, the others fetch ImageNet's.
        size: Working size: pictures are squashed to size x size pixels.
        cache: Folder for features kept on disk; none keeps them in memory only.
    """

    name: str = "filters"
    weights: str | None = None
    size: int = 256
    cache: str | None = None


@dataclass
class GraphConfig:
    """How pictures become a task graph.

    Attributes:
        nodes: "pixels" (or cells of `stride` pixels), or "segments": superpixels, joined where they touch; of the
            supports all that hold labelled pixels, with the label of most of these.
        segments: Segments of a picture, about.
        stride: Query node stride in pixels of the working size; 1 makes every pixel a node.
        num_fg: Foreground pixels sampled a class and support picture (pixels only).
        num_bg: Background pixels sampled a support picture (pixels only).
        sampling: How they are drawn.
        bg_bg: Random background-background edges a background node.
        fg_fg: Foreground-foreground edges a foreground node.
        fg_fg_mode: Partner of a foreground-foreground edge.
        fg_bg: Random foreground-background edges a foreground node.
        intra_ratio: Share of the support edges that stay within a picture, in [0, 1].
        bg_bg_intra: The same for background-background edges alone; none: `intra_ratio`.
        fg_fg_intra: The same for foreground-foreground edges alone; none: `intra_ratio`.
        fg_bg_intra: The same for foreground-background edges alone; none: `intra_ratio`.
        color: Colour difference in the edge feature.
        color_feature: Keep the colour difference in the edge feature; off, it is zero on every edge.
        distance_feature: The same for the distance.
        image_feature: The same for whether both ends lie in one picture.
        dilations: Distances, in nodes, of the query lattice (pixels only).
        connectivity: Neighbours of a lattice node at each distance: 4, or 8 with the diagonal ones.
        query_support_random: Random support partners of a query node.
        query_support_knn: Nearest support partners of a query node in embedding space.
        query_query_knn: Nearest partners among the query nodes in embedding space.
        unlabelled_knn: Nearest partners of a query node among the nodes of unlabelled pictures.
        knn_level: Backbone level in which all nearest partners are searched, 0 the finest, -1 the coarsest; none: all
            levels joined.
        knn_block: Query nodes a side of the blocks that search their nearest support partners together: 1 gives each
            node its exact ones; 4 finds, at stride 1, nearly 98 % of them or more in a quarter of the time.
        both_ways: Let messages also flow from query to support nodes.
        edge_drop: Share of the edges left out of each training episode's graph; never outside of training.
    """

    nodes: Literal["pixels", "segments"] = "pixels"
    segments: int = 800
    stride: int = 8
    num_fg: int = 64
    num_bg: int = 64
    sampling: Literal["uniform", "boundary", "farthest"] = "uniform"
    bg_bg: int = 4
    fg_fg: int = 4
    fg_fg_mode: Literal["random", "nearest"] = "nearest"
    fg_bg: int = 4
    intra_ratio: float = 0.5
    bg_bg_intra: float | None = None
    fg_fg_intra: float | None = None
    fg_bg_intra: float | None = None
    color: Literal["mean_abs", "euclidean", "ciede2000"] = "mean_abs"
    color_feature: bool = True
    distance_feature: bool = True
    image_feature: bool = True
    dilations: list[int] = field(default_factory=lambda: [1, 2, 4])
    connectivity: Literal[4, 8] = 4
    query_support_random: int = 2
    query_support_knn: int = 4
    query_query_knn: int = 0
    unlabelled_knn: int = 0
    knn_level: int | None = None
    knn_block: int = 1
    both_ways: bool = False
    edge_drop: float = 0.0


@dataclass
class ModelConfig:
    """The GNN.

    Attributes:
        width: Channels of a node state.
        heads: Attention heads.
        encoder_blocks: Class-agnostic attention blocks on the support and task graphs.
        decoder_blocks: Class-wise attention blocks on the task graph.
        dropout: Dropout inside blocks.
        input_dropout: Share of the projected feature channels hidden from all nodes of an episode in training.
        evidence: Feed the class-wise evidence.
        pyramid: Channels of the convolutions that look at evidence and features from coarse to fine; 0: the nodes get
            the evidence as it is.
        discriminant: How much a ridge regression on several supports counts, once the network is trained; 0: not at
            all. It is part of the evidence.
        self_support: How much a query's own likely parts of a class count, once the network is trained; 0: not at all.
        diffusion: How far labels spread among neighbours, less where colours (`graph.color_feature`) differ, once the
            network is trained; in [0, 1), 0: not at all.
        edge_features: Let the 3-d edge features bias attention.
        target: Keep a slowly following copy of the encoder, and a predictor of it: what `loss.unsup_form` "bgrl" needs.
    """

    width: int = 64
    heads: int = 4
    encoder_blocks: int = 1
    decoder_blocks: int = 1
    dropout: float = 0.0
    input_dropout: float = 0.8
    evidence: bool = True
    pyramid: int = 64
    discriminant: float = 1.5
    self_support: float = 5.0
    diffusion: float = 0.8
    edge_features: bool = True
    target: bool = False


@dataclass
class LossConfig:
    """Weights of the losses; 0 switches one off.

    Attributes:
        bce: Binary cross-entropy of each class against the rest.
        dice: Soft Dice.
        auxiliary: Segmentation loss of the auxiliary heads: after each encoder block, and at the nodes.
        supcon: Supervised node contrast on the encoder.
        supcon_form: "supcon" (positives outside the logarithm) or "pixel_gnn" (inside, partners drawn).
        self_prediction: Cross-entropy of each support node's label, told from the other support nodes by attention.
        self_prediction_from: Which others: all, or only those of other pictures (nothing is told from a single one).
        unsup: Unsupervised node contrast between two augmented views of a picture.
        unsup_form: "grace" (other nodes are negatives) or "bgrl" (no negatives, a slow target; needs `model.target`).
        unsup_nodes: Whose nodes: those of unlabelled pictures, or also of supports and queries, labels unread.
        unsup_anchors: Nodes of a picture that "grace" contrasts; "bgrl" takes all.
        target_decay: Share of its own weights that the target keeps in a step of the optimiser.
        target_schedule: Whether that share stays, or rises to one by half a cosine.
        temperature: Temperature of the contrasts and of the self-prediction.
    """

    bce: float = 1.0
    dice: float = 1.0
    auxiliary: float = 0.4
    supcon: float = 0.1
    supcon_form: Literal["supcon", "pixel_gnn"] = "supcon"
    self_prediction: float = 0.0
    self_prediction_from: Literal["others", "other_pictures"] = "others"
    unsup: float = 0.0
    unsup_form: Literal["grace", "bgrl"] = "grace"
    unsup_nodes: Literal["unlabelled", "all"] = "unlabelled"
    unsup_anchors: int = 256
    target_decay: float = 0.99
    target_schedule: Literal["cosine", "constant"] = "cosine"
    temperature: float = 0.1


@dataclass
class TrainConfig:
    """The optimisation.

    Attributes:
        steps: Optimiser steps.
        batch: Episodes a step, over all processes.
        lr: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        warmup: Steps of linear warm-up; a cosine to zero follows.
        ema: Decay of the averaged weights that are evaluated; 0 evaluates the raw ones.
        clip: Largest gradient norm.
        val_every: Steps between validations.
        val_episodes: Episodes of a validation.
        save_every: Steps between checkpoints.
        augment: Augmented variants of each training picture, cached as the picture itself is; 0: none.
        augment_crop: Crop them at random beside flip and colour; off where the framing tells something.
        tensorboard: Also write TensorBoard events.
    """

    steps: int = 2000
    batch: int = 8
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 100
    ema: float = 0.99
    clip: float = 1.0
    val_every: int = 200
    val_episodes: int = 200
    save_every: int = 200
    augment: int = 4
    augment_crop: bool = True
    tensorboard: bool = False


@dataclass
class Config:
    """Train the GNN on episodes of a data set; the checkpoint that is best on the validation classes is kept.

    Attributes:
        data: Source of the training, validation and test classes.
        extra: Further sources for training only.
        episodes: How training episodes are drawn.
        backbone: The frozen CNN.
        graph: Construction of the graph.
        model: The GNN.
        loss: The losses.
        train: The optimisation.
        seed: Seed of everything random.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        runs: Folder that holds the run folders.
        run: Name of the run's folder; made from the data set and the time when not given.
    """

    data: SourceConfig = field(default_factory=SourceConfig)
    extra: list[SourceConfig] = field(default_factory=list)
    episodes: EpisodeConfig = field(default_factory=EpisodeConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0
    device: str = "auto"
    runs: str = "runs"
    run: str | None = None
