import pytest

from pixgraph.cli.pretrain_reco import parse_reco
from pixgraph.errors import ConfigError
from pixgraph.pretrain.reco.config import ALIASES, RecoConfig, check_reco, own_statistics

SEED = (
    "--data camvid:x --num-labeled 150 --val-interval 500 --mixing-strategy classmix --reco --reco-weight 2.0 "
    "--reco-temp 0.4 --reco-num-queries 200 --reco-num-negatives 300 --reco-threshold 0.96 --conf-thresh 0.9 "
    "--ema-decay 0.98 --iterations 123 --batch-size 6 --unsup-weight 0.5 --lr 0.01 --weight-decay 0.001 "
    "--save-interval 77 --model unet-small"
)


def test_the_seeds_flags_are_understood():
    config, resume = parse_reco(SEED.split())
    assert not resume
    assert (config.labels.num_labeled, config.mixing, config.reco) == (150, "classmix", True)
    contrast = config.contrast
    assert (contrast.weight, contrast.temperature, contrast.num_queries) == (2.0, 0.4, 200)
    assert (contrast.num_negatives, contrast.threshold) == (300, 0.96)
    assert (config.pseudo.weight, config.pseudo.conf_thresh, config.teacher.decay) == (0.5, 0.9, 0.98)
    optim = config.optim
    assert (optim.steps, optim.batch, optim.val_every, optim.save_every) == (123, 6, 500, 77)
    assert (optim.lr, optim.weight_decay, config.network) == (0.01, 0.001, "unet-small")
    partial, _ = parse_reco(
        ["--data=camvid:x", "--label-ratio=p1", "--teacher-mode", "eval", "--weak-threshold", "0.6"]
    )
    assert (partial.labels.ratio, partial.teacher.mode, partial.pseudo.weak_threshold) == ("p1", "eval", 0.6)


def test_the_seeds_commands_run_as_they_are():
    words = "--dataset cityscapes --data-path dataset/cityscapes --label-ratio p0 --seed 0 --val-interval 500"
    config, _ = parse_reco([*words.split(), "--model", "reconet"])
    assert config.data == "cityscapes:dataset/cityscapes"
    assert (config.network, config.labels.ratio, config.seed) == ("deeplabv3plus:resnet101", "p0", 0)


def test_defaults_are_those_of_the_authors():
    config = RecoConfig("camvid:x")
    assert (config.contrast.num_queries, config.contrast.num_negatives, config.contrast.temperature) == (256, 512, 0.5)
    assert config.pseudo.pixel_threshold == 0
    assert (config.contrast.threshold, config.pseudo.conf_thresh, config.pseudo.weak_threshold) == (0.97, 0.97, 0.7)
    assert (config.teacher.decay, config.teacher.mode) == (0.99, "train")
    assert (config.optim.steps, config.optim.lr, config.optim.schedule) == (40000, 2.5e-3, "poly")


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_reco(["--help"])
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ALIASES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "data: got nothing, expected --data NAME:FOLDER"),
        ("--dataset camvid", "got --dataset camvid alone, expected both --dataset NAME and --data-path FOLDER"),
        ("--data x --num-labeled 0", "labels.num_labeled: got 0, expected a whole number >= 1"),
        ("--data x --num-labeled 3 --labels.fraction 0.5", "got num_labeled 3 and fraction 0.5, expected one of them"),
        ("--data x --label-ratio p2", "--labels.ratio: got 'p2', expected one of p0, p1, p5, p25"),
        ("--data x --mixing-strategy mixup", "--mixing: got 'mixup', expected one of none, cutout, cutmix, classmix"),
        ("--data x --ema-decay 1.5", "teacher.decay: got 1.5, expected a number in"),
        ("--data x --reco-temp 0", "contrast.temperature: got 0.0, expected a number > 0"),
        ("--data x --reco-num-querys 3", "did you mean --reco-num-queries"),
        ("--data x --ema-buffers false", "teacher.buffers: got false with mixing none"),
        ("--data x --mixing cutmix --ema-buffers false --teacher-mode eval", "got false with mode eval"),
        ("--data x --views.scale [1.5,0.5]", "expected the smallest and the largest factor"),
        ("--resume", "nothing says which run"),
    ],
)
def test_mistakes_are_told(words, message):
    with pytest.raises(ConfigError) as error:
        parse_reco(words.split())
    assert message in str(error.value)


def test_whether_the_teacher_has_statistics_of_its_own():
    assert own_statistics(RecoConfig("x", mixing="classmix"))
    assert not own_statistics(RecoConfig("x"))
    config = RecoConfig("x", mixing="classmix")
    config.teacher.mode = "eval"
    assert not own_statistics(check_reco(config))
