"""Networks by short names: in studies, on the command line, as axes and in `fit`."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import analogpc as apc
from analogpc.commands.app import app
from analogpc.devices.fields import lay
from analogpc.devices.specification import SpecificationError
from analogpc.networks import MLP, VGG, Architecture, Hopfield, ResNet
from analogpc.networks.names import named_network, network_names, usual_network
from analogpc.training.run import Run
from analogpc.training.study import Study


def test_every_name_stands_for_a_network_that_can_be_made() -> None:
    for name in network_names():
        fields = named_network(name)
        usual = usual_network(fields["kind"], (32, 32, 3), 7, fields)
        if usual is None:
            assert name in ("layers", "transformer")
            continue
        made = usual.but({path: value for path, value in fields.items() if path != "kind"})
        assert made.kind == fields["kind"]
        assert made.layers()


@pytest.mark.parametrize(
    ("dataset", "network", "expected"),
    [
        ("digits", "mlp", MLP(widths=(64, 64, 64, 10))),
        ("mnist", "784-32-10", MLP(widths=(784, 32, 10))),
        ("cifar100", "vgg7", VGG(depth=7, classes=100)),
        ("cifar100", {"depth": 7}, VGG(depth=7, classes=100)),
        ("cifar100", {"kind": "resnet", "depth": 18}, ResNet(depth=18, classes=100)),
        ("digits", "hopfield:64-20-10", Hopfield(widths=(64, 20, 10))),
    ],
)
def test_names_get_the_ends_of_the_data(dataset: str, network: object, expected: Architecture) -> None:
    rule = "ep-hopfield" if isinstance(expected, Hopfield) else "bp"
    study = Study.from_dict({"rule": rule, "dataset": dataset, "network": network})
    assert study.network == expected
    assert Study.from_toml(study.to_toml()) == study


def test_a_change_of_the_data_changes_the_ends_of_a_named_network() -> None:
    said = lay(Study, {"rule": "bp", "network": "vgg7", "dataset": "cifar10"}, {"dataset": "cifar100", "network.width": 0.5})
    assert Study.from_dict(said).network == VGG(depth=7, width=0.5, classes=100)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ("vgg6", r"there is no network 'vgg6'; the networks are .*vgg5, .*, widths such as 784-256-10; did you mean 'vgg"),
        ("lattice:8-2", "there is no network 'lattice:8-2'; the networks are"),
        (3, "network = 3 is not allowed: a table of fields is needed"),
        ("vgg5", r"VGG: input_shape = \(8, 8, 1\) is too small for VGG5"),
    ],
)
def test_what_is_not_a_network_is_refused(network: object, sentence: str) -> None:
    with pytest.raises(SpecificationError, match=sentence):
        Study.from_dict({"rule": "bp", "network": network})


def test_the_option_is_the_field(tmp_path) -> None:
    runner = CliRunner()
    options = ["train", "--epochs", "1", "--set", "train_images=64", "--json"]
    by_option = runner.invoke(app, [*options, "--network", "64-12-10", "--out", str(tmp_path / "a.h5")])
    by_field = runner.invoke(app, [*options, "--set", "network=64-12-10", "--out", str(tmp_path / "b.h5")])
    assert by_option.exit_code == by_field.exit_code == 0
    one, other = (Run.load(tmp_path / name).study for name in ("a.h5", "b.h5"))
    assert one == other
    assert one.network == MLP(widths=(64, 12, 10))


def test_fit_takes_names_and_architectures() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 12, 12, 1)), np.arange(24) % 3
    named = apc.fit("cnn", "bp", (x, y), epochs=1, progress=False)
    assert named.network.input_shape == (12, 12, 1)
    assert named.network.output_shape == (3,)
    wide = apc.fit("144-8-5", "bp", (x, y), epochs=1, progress=False, seed=3)
    same = apc.fit(MLP(widths=(144, 8, 5)), "bp", (x, y), epochs=1, progress=False, seed=3)
    assert wide.network.output_shape == (5,)
    np.testing.assert_array_equal(wide.network.predict(x.astype("float32")), same.network.predict(x.astype("float32")))
