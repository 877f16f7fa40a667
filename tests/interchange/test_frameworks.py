"""Models of PyTorch and Keras, as those libraries make them; skipped where they are missing."""

from __future__ import annotations

import os
from collections import OrderedDict

import numpy as np
import pytest

from fastmlp import MLP, Adam

torch = pytest.importorskip("torch")
nn, prune = torch.nn, pytest.importorskip("torch.nn.utils.prune")
os.environ.setdefault("KERAS_BACKEND", "torch")

X = np.random.default_rng(0).normal(size=(40, 6)) * 2
ROWS = torch.from_numpy(X.astype("float32"))
LABELS = np.arange(40) % 3
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries' own

ACTIVATIONS = {
    "identity": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU, "softplus": nn.Softplus,
}  # fmt: skip


def perceptron(activation=nn.ReLU, *end, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 5, bias=bias), activation(), nn.Linear(5, 4, bias=bias), activation(),
        nn.Linear(4, 3, bias=bias), *end,
    )  # fmt: skip


def answer(model, rows=ROWS) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(rows).numpy()


def assert_same(net, model, of=lambda outputs: outputs, rows=ROWS):
    """The network's outputs are the model's, and it trains on from there."""
    wanted = answer(model, rows)
    assert np.ptp(wanted, axis=0).min() > 1e-4
    flat = rows.numpy().reshape(len(rows), -1)
    np.testing.assert_allclose(of(net.predict_proba(flat)), wanted, rtol=0, atol=2e-6)
    if net.architecture.output == "softmax":
        before = net.evaluate(flat, LABELS)["loss"]
        net.fit(flat, LABELS, epochs=10, batch_size=None, optimizer=Adam(0.003))
        assert net.evaluate(flat, LABELS)["loss"] < before
        np.testing.assert_array_equal(answer(model, rows), wanted)


def read(model, **options) -> MLP:
    return MLP.from_torch(model, backend="numpy", **options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_a_sequential(name, bias):
    model = perceptron(ACTIVATIONS[name], nn.Softmax(dim=1), bias=bias)
    net = read(model)
    assert net.architecture.activations == (name, name)
    assert (net.architecture.bias, net.dtype) == (bias, np.float32)
    assert_same(net, model)
    state = OrderedDict(model.state_dict())
    again = read(state, activation=name, output="softmax")
    np.testing.assert_array_equal(again.predict_proba(X), read(model).predict_proba(X))


def test_what_ends_a_sequential():
    for end, of in ((nn.LogSoftmax(-1), np.log), (nn.Sigmoid(), np.asarray)):
        model = perceptron(nn.Tanh, end)
        assert_same(read(model), model, of)
    logits = perceptron(nn.Tanh)
    assert_same(read(logits, loss="huber"), logits)
    assert_same(read(nn.Sequential(*logits, nn.Identity())), logits)
    value = nn.Linear(6, 1)
    assert_same(read(value), value)
    assert_same(read(logits, output="softmax"), perceptron(nn.Tanh, nn.Softmax(1)))
    assert_same(read(logits, output="sigmoid"), perceptron(nn.Tanh, nn.Sigmoid()))
    with pytest.raises(ValueError, match="output: expected sigmoid, with which model ends"):
        read(perceptron(nn.Tanh, nn.Sigmoid()), output="softmax")


def test_what_is_left_out_nested_or_used_twice():
    torch.manual_seed(0)
    relu = nn.ReLU()
    block = nn.Sequential(OrderedDict(first=nn.Linear(6, 5), then=relu, drop=nn.Dropout(0.5)))
    model = nn.Sequential(
        nn.Flatten(), block, nn.Linear(5, 5), relu, nn.Linear(5, 4), relu,
        nn.Linear(4, 4), nn.Identity(), nn.Linear(4, 3)
    )  # fmt: skip
    with pytest.raises(
        ValueError, match=r"1.drop \(Dropout\): expected .* model.eval\(\), got one in"
    ):
        read(model)
    net = read(model.eval())
    assert net.architecture.activations == ("relu", "relu", "relu", "identity")
    assert_same(net, model, rows=ROWS.reshape(40, 2, 3))
    layer = nn.Linear(6, 3)
    assert_same(read(layer), layer)
    assert read(nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.0))).layer_sizes == (6, 3)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_models_of_other_types(dtype):
    model = perceptron(nn.Tanh, nn.Softmax(1)).to(getattr(torch, dtype))
    net = read(model)
    assert net.dtype == (np.float64 if dtype == "float64" else np.float32)
    if dtype == "float64":
        wanted = answer(model, torch.from_numpy(X))
        np.testing.assert_allclose(net.predict_proba(X), wanted, rtol=1e-12)
    else:
        assert_same(net, model.float())


def test_input_scale_stands_for_what_the_model_had_divided():
    model = perceptron(nn.Tanh, nn.Softmax(1))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 6), dtype=np.uint8)
    wanted = answer(model, torch.from_numpy((pixels / 255.0).astype("float32")))
    found = read(model, input_scale=255.0).predict_proba(pixels)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = perceptron()

    def forward(self, x):
        return self.layers(x)


class Linear(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def doubled(*arguments):
    return 2 * arguments[-1]


def changed(change):
    model = perceptron()
    change(model)
    return model


def patched(module):
    module.forward = doubled


def tied(model):
    model[4] = nn.Linear(4, 5)
    model.append(nn.Linear(5, 4))
    model[5].weight = model[2].weight


def repeated():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


def unfinished():
    model = perceptron()
    with torch.no_grad():
        model[2].weight[1, 1] = float("nan")
    return model


WRONG = {
    "a convolution": (nn.Sequential(nn.Conv2d(1, 2, 3)), r"model: 0 \(Conv2d\): expected one of"),
    "a norm": (
        nn.Sequential(nn.Linear(6, 3), nn.Sequential(nn.BatchNorm1d(3))),
        r"model: 1.0 \(BatchNorm1d\): expected one of Linear",
    ),
    "a module of one's own": (Net(), r"model: Net: expected a Sequential; .* its state_dict\(\)"),
    "a namesake": (nn.Sequential(Linear(6, 3)), r"model: 0 \(Linear\): expected a Sequential"),
    "an exact gelu": (perceptron(nn.GELU), r"1 \(GELU\): expected approximate='tanh'"),
    "another slope": (
        perceptron(lambda: nn.LeakyReLU(0.2)), r"1 \(LeakyReLU\): expected negative_slope=0.01",
    ),
    "another alpha": (perceptron(lambda: nn.ELU(0.5)), r"1 \(ELU\): expected alpha=1.0"),
    "another beta": (perceptron(lambda: nn.Softplus(2)), r"1 \(Softplus\): expected beta=1.0"),
    "another dim": (perceptron(nn.ReLU, nn.Softmax(0)), r"5 \(Softmax\): expected dim=1"),
    "a softmax inside": (perceptron(lambda: nn.Softmax(1)), r"0 \(Linear\): expected another act"),
    "a relu at the end": (perceptron(nn.ReLU, nn.ReLU()), r"4 \(Linear\): expected softmax, sigm"),
    "two activations": (
        nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Tanh()), r"2 \(Tanh\): expected an activation",
    ),
    "an activation first": (nn.Sequential(nn.ReLU(), nn.Linear(6, 3)), r"0 \(ReLU\): expected an"),
    "no layer": (nn.Sequential(), "model: expected at least one layer"),
    "no chain": (
        nn.Sequential(nn.Linear(6, 5), nn.Linear(4, 3)), r"model: 1 \(Linear\): expected 5 inputs",
    ),
    "a hook": (
        changed(lambda model: model[2].register_forward_hook(doubled)),
        r"model: 2 \(Linear\): expected no hooks",
    ),
    "a hook on all": (
        changed(lambda model: model.register_forward_hook(doubled)),
        r"model: Sequential: expected no hooks",
    ),
    "a hook on a part": (
        nn.Sequential(changed(lambda model: model.register_forward_pre_hook(doubled))),
        r"model: 0 \(Sequential\): expected no hooks",
    ),
    "a patched layer": (
        changed(lambda model: patched(model[0])), r"model: 0 \(Linear\): expected PyTorch's own",
    ),
    "a patched model": (changed(patched), r"model: Sequential: expected PyTorch's own forward"),
    "weight norm": (
        changed(lambda model: nn.utils.parametrizations.weight_norm(model[0])),
        r"model: 0 \(ParametrizedLinear\): expected a Sequential",
    ),
    "pruned": (
        changed(lambda model: prune.l1_unstructured(model[0], "weight", 0.5)),
        r"model: 0 \(Linear\): expected no hooks",
    ),
    "tied weights": (
        changed(tied), r"model: 5 \(Linear\): expected a weight of its own, got that of 2",
    ),
    "a layer twice": (repeated(), r"model: 2 \(Linear\): expected a weight of its own"),
    "dropout in training": (
        perceptron(lambda: nn.Dropout(0.5)), r"model: 1 \(Dropout\): expected .*model.eval\(\)",
    ),
    "a lazy layer": (nn.Sequential(nn.LazyLinear(3)), r"model: 0 \(LazyLinear\): expected no"),
    "complex numbers": (
        nn.Sequential(nn.Linear(6, 3, dtype=torch.complex64)), r"floats, got dtype complex64",
    ),
    "a wrapped model": (nn.DataParallel(perceptron()), "model: DataParallel: expected a Sequ"),
    "not a number": (unfinished(), r"model: 2 \(Linear\): expected finite numbers, got nan"),
    "no numbers": (nn.Linear(6, 3, device="meta"), "model: Linear: expected an array of floats"),
    "a part of it": (nn.Sequential(nn.Flatten(2), nn.Linear(6, 3)), r"0 \(Flatten\): expected one"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "message"), WRONG.values(), ids=WRONG)
def test_models_that_are_no_perceptron_are_refused(model, message):
    with pytest.raises((TypeError, ValueError), match=message):
        read(model)


def test_a_sequential_names_its_activations_itself():
    with pytest.raises(ValueError, match="activation: expected None, since model names its own"):
        read(perceptron(), activation="relu")
    with pytest.raises(ValueError, match="activation: expected the names of the hidden"):
        read(perceptron().state_dict())
    net = read(Net().state_dict(), activation="relu", output="identity")
    assert net.layer_sizes == (6, 5, 4, 3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_loads_our_safetensors_as_a_state_dict(tmp_path, dtype, bias):
    safetensors = pytest.importorskip("safetensors.torch")
    net = MLP((6, 5, 4, 3), activation=("elu", "gelu"), rng=1, dtype=dtype, bias=bias,
              backend="numpy")  # fmt: skip
    net.fit(X, LABELS, epochs=3)
    net.to_safetensors(tmp_path / "net")
    model = nn.Sequential(
        nn.Linear(6, 5, bias), nn.ELU(), nn.Linear(5, 4, bias), nn.GELU(approximate="tanh"),
        nn.Linear(4, 3, bias), nn.Softmax(1),
    ).to(getattr(torch, dtype))  # fmt: skip
    assert not model.load_state_dict(safetensors.load_file(tmp_path / "net")).missing_keys
    wanted = net.predict_proba(X)
    found = answer(model, torch.from_numpy(X.astype(dtype)))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 if dtype == "float64" else 1e-6)
    safetensors.save_file(model.state_dict(), tmp_path / "theirs")
    options = {"activation": ["elu", "gelu"], "output": "softmax", "backend": "numpy"}
    again = MLP.from_safetensors(tmp_path / "theirs", **options)
    np.testing.assert_array_equal(again.predict_proba(X), wanted)


# Keras

KERAS = {
    "identity": "linear", "sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "elu": "elu",
    "silu": "silu", "softplus": "softplus",
}  # fmt: skip


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def dense(keras, *layers, inputs=(6,)):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input(inputs), *layers])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", KERAS)
def test_every_activation_of_keras(keras, name, bias):
    Dense, Activation = keras.layers.Dense, keras.layers.Activation
    model = dense(
        keras, Dense(5, KERAS[name], use_bias=bias), keras.layers.Dropout(0.5),
        Dense(4, use_bias=bias), Activation(KERAS[name]), Dense(3, "softmax", use_bias=bias),
    )  # fmt: skip
    net = MLP.from_keras(model, backend="numpy")
    assert net.architecture.activations == (name, name)
    assert net.architecture.bias == bias
    wanted = model.predict(X, verbose=0)
    np.testing.assert_allclose(net.predict_proba(X), wanted, rtol=0, atol=2e-6)
    again = MLP.from_keras(model.get_weights(), activation=name, output="softmax", backend="numpy")
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    before = net.evaluate(X, LABELS)["loss"]
    net.fit(X, LABELS, epochs=10, batch_size=None, optimizer=Adam(0.003))
    assert net.evaluate(X, LABELS)["loss"] < before


def test_the_front_and_the_end_of_a_keras_model(keras):
    layers = keras.layers
    pixels = np.random.default_rng(0).integers(0, 256, (40, 2, 3), dtype=np.uint8)
    model = dense(
        keras, layers.Flatten(), layers.Rescaling(1 / 255.0), layers.Dense(5, "tanh"),
        layers.Dense(1, "sigmoid"), inputs=(2, 3),
    )  # fmt: skip
    net = MLP.from_keras(model, backend="numpy")
    assert net.architecture.input_scale == 255.0
    assert net.architecture.output == "sigmoid"
    wanted = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(net.predict_proba(pixels.reshape(40, 6)), wanted, atol=1e-6)
    with pytest.raises(ValueError, match="input_scale: expected None, since the model has its own"):
        MLP.from_keras(model, input_scale=255.0)
    model = dense(keras, layers.Dense(5, "tanh"), layers.Dense(2))
    net = MLP.from_keras(model, loss="absolute_error", backend="numpy")
    np.testing.assert_allclose(net.predict(X), model.predict(X, verbose=0), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "options", "output"),
    [
        ("mse", {}, "identity"), ("SparseCategoricalCrossentropy", {}, "identity"),
        ("SparseCategoricalCrossentropy", {"from_logits": True}, "softmax"),
        ("CategoricalCrossentropy", {"from_logits": True}, "softmax"),
        ("BinaryCrossentropy", {"from_logits": True}, "sigmoid"), (None, {}, "identity"),
    ],
)  # fmt: skip
def test_a_linear_output_stays_linear_unless_the_compiled_loss_takes_logits(
    keras, name, options, output
):
    model = dense(keras, keras.layers.Dense(5, "relu"), keras.layers.Dense(3))
    if name is not None:
        model.compile(loss=name if name == "mse" else getattr(keras.losses, name)(**options))
    net = MLP.from_keras(model, backend="numpy")
    assert net.architecture.output == output
    wanted = model.predict(X, verbose=0)
    made = {"identity": lambda z: z, "sigmoid": keras.ops.sigmoid, "softmax": keras.ops.softmax}
    np.testing.assert_allclose(net.predict_proba(X), made[output](wanted), rtol=0, atol=2e-6)
    told = MLP.from_keras(model, output="identity", backend="numpy")
    np.testing.assert_allclose(told.predict(X), wanted, rtol=0, atol=2e-6)


def test_keras_models_that_are_no_perceptron_are_refused(keras):
    layers = keras.layers
    one = keras.Input((6,))
    wrong = {
        r"norm \(BatchNormalization\): expected Dense": dense(
            keras, layers.Dense(3), layers.BatchNormalization(name="norm")
        ),
        r"first \(Dense\): expected one of linear, .*, got 'gelu'": dense(
            keras, layers.Dense(3, "gelu", name="first")
        ),
        r"got 'leaky_relu'": dense(keras, layers.Dense(3, "leaky_relu")),
        r"one scale above 0 and no offset": dense(keras, layers.Rescaling(1 / 127.5, -1.0)),
        r"\(Activation\): expected Dense, an Activation after one without": dense(
            keras, layers.Dense(3, "relu"), layers.Activation("relu")
        ),
        r"expected a layer that is built": keras.Sequential([layers.Dense(3)]),
        r"Functional: expected a Sequential; .* get_weights\(\)": keras.Model(
            one, layers.Dense(3)(one)
        ),
        r"\(Flatten\): expected Dense": dense(
            keras, layers.Flatten("channels_first"), layers.Dense(3), inputs=(2, 3)
        ),
        r"expected at least one layer": dense(keras),
    }

    def changed(change, **options):
        model = dense(keras, layers.Dense(3, name="first"), layers.Dense(3), **options)
        change(model)
        return model

    def relu(x):
        return 2 * x

    wrong |= {
        r"first \(Dense\): expected one of linear, .*, got '.*relu'": dense(
            keras, layers.Dense(3, relu, name="first")
        ),
        r"samples of one dimension, or Flatten in front, got \(5, 6\)": changed(
            lambda model: None, inputs=(5, 6)
        ),
        r"first \(Dense\): expected plain weights, got quantized ones or LoRA": changed(
            lambda model: model.layers[0].enable_lora(2)
        ),
        r"first \(Dense\): expected Keras' own call": changed(
            lambda model: setattr(model.layers[0], "call", relu)
        ),
        r"Sequential: expected Keras' own call": changed(
            lambda model: setattr(model, "call", relu)
        ),
        r"\(GaussianNoise\): expected Dense": dense(
            keras, layers.GaussianNoise(0.1), layers.Dense(3)
        ),
        r"\(Masking\): expected Dense": dense(keras, layers.Masking(), layers.Dense(3)),
    }
    for message, model in wrong.items():
        with pytest.raises((TypeError, ValueError), match=message):
            MLP.from_keras(model)
    model = dense(keras, layers.Dense(3, "softmax"))
    with pytest.raises(ValueError, match="activation: expected None, since model names its own"):
        MLP.from_keras(model, activation="relu")
