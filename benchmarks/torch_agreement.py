"""Whether DenseNet121 gives the same outputs in Keras as in PyTorch, on weights that PyTorch saved.

In an environment of its own, because cxr does not use PyTorch::

    python3 -m venv torch-env && torch-env/bin/pip install torch numpy
    torch-env/bin/python benchmarks/torch_agreement.py outputs tests/fixtures/torch
    python benchmarks/torch_agreement.py compare tests/fixtures/torch

The first command writes what PyTorch computes for networks with random weights (`expected.npz`) and small files of
the formats that PyTorch writes; the second loads the same weights into Keras and compares. The weights are made by
NumPy's frozen ``RandomState``, so that no file of 30 MB is needed: gammas 0.5 to 1.5, betas and running means around 0,
variances from 1e-4 to 1.5. With ``--torchvision`` the names and outputs are compared with those of torchvision's own
network, which must be installed then.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

BLOCKS, GROWTH, N_UNITS = (6, 12, 24, 16), 32, 5
#: (channels, size) of the images.
CASES = [(channels, size) for channels in (1, 3) for size in (224, 225)]


def random_state_dict(n_channels: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights of DenseNet121 by torchvision's names, float32.

    Each convolution's outputs have deviations between 0.01 and 1, and the normalisation behind it knows them about.
    """
    random = np.random.RandomState(seed + n_channels)
    arrays: dict[str, np.ndarray] = {}

    def convolution(name: str, n_in: int, n_out: int, size: int) -> np.ndarray:
        deviations = np.exp(random.uniform(np.log(0.01), 0.0, n_out))
        kernel = random.standard_normal((n_out, n_in, size, size)) * np.sqrt(1.5 / (n_in * size * size))
        arrays[f"{name}.weight"] = (kernel * deviations[:, None, None, None]).astype(np.float32)
        return deviations

    def normalisation(name: str, deviations: np.ndarray) -> None:
        n = len(deviations)
        arrays[f"{name}.weight"] = random.uniform(0.5, 1.5, n).astype(np.float32)
        arrays[f"{name}.bias"] = (random.standard_normal(n) * 0.2).astype(np.float32)
        arrays[f"{name}.running_mean"] = (random.standard_normal(n) * 0.3 * deviations).astype(np.float32)
        variances = deviations * deviations * random.uniform(0.7, 1.5, n)
        arrays[f"{name}.running_var"] = np.maximum(variances, 1e-4).astype(np.float32)

    held = convolution("features.conv0", n_channels, 64, 7)
    normalisation("features.norm0", held)
    held = np.full(64, 0.6)
    for block, n_layers in enumerate(BLOCKS, 1):
        for layer in range(1, n_layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            normalisation(f"{name}.norm1", held)
            normalisation(f"{name}.norm2", convolution(f"{name}.conv1", len(held), 4 * GROWTH, 1))
            held = np.concatenate([held, convolution(f"{name}.conv2", 4 * GROWTH, GROWTH, 3)])
        if block < len(BLOCKS):
            normalisation(f"features.transition{block}.norm", held)
            held = convolution(f"features.transition{block}.conv", len(held), len(held) // 2, 1)
    normalisation("features.norm5", held)
    arrays["classifier.weight"] = (random.standard_normal((N_UNITS, len(held))) * 0.06).astype(np.float32)
    arrays["classifier.bias"] = (random.standard_normal(N_UNITS) * 0.1).astype(np.float32)
    return arrays


def random_images(n_channels: int, size: int, *, n: int = 2) -> np.ndarray:
    """Return standardized images, float32 of shape (n, size, size, n_channels)."""
    return np.random.RandomState(size).standard_normal((n, size, size, n_channels)).astype(np.float32)


def torch_outputs(arrays: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return the probabilities that PyTorch computes, by its functions of the layers."""
    import torch
    from torch.nn import functional

    held = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def normal(x: Any, name: str) -> Any:
        mean, variance = held[f"{name}.running_mean"], held[f"{name}.running_var"]
        return functional.relu(functional.batch_norm(x, mean, variance, held[f"{name}.weight"], held[f"{name}.bias"]))

    def convolve(x: Any, name: str, **options: int) -> Any:
        return functional.conv2d(x, held[f"{name}.weight"], **options)

    with torch.no_grad():
        x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        x = normal(convolve(x, "features.conv0", stride=2, padding=3), "features.norm0")
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for block, n_layers in enumerate(BLOCKS, 1):
            for layer in range(1, n_layers + 1):
                name = f"features.denseblock{block}.denselayer{layer}"
                new = convolve(normal(x, f"{name}.norm1"), f"{name}.conv1")
                new = convolve(normal(new, f"{name}.norm2"), f"{name}.conv2", padding=1)
                x = torch.cat([x, new], 1)
            if block < len(BLOCKS):
                x = convolve(normal(x, f"features.transition{block}.norm"), f"features.transition{block}.conv")
                x = functional.avg_pool2d(x, 2)
        x = normal(x, "features.norm5").mean((2, 3))
        x = functional.linear(x, held["classifier.weight"], held["classifier.bias"])
        return torch.sigmoid(x).numpy()


def torchvision_outputs(arrays: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return the probabilities of torchvision's network; every weight must have the name it has there."""
    import torch
    import torchvision

    model = torchvision.models.densenet121(weights=None, num_classes=N_UNITS)
    if images.shape[-1] == 1:
        model.features.conv0 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict(state | counters, strict=True)
    with torch.no_grad():
        output = model.eval()(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
        return torch.sigmoid(output).numpy()


def write_small_files(folder: Path) -> None:
    """Write small files of each format with the same arrays, and of what is refused."""
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.BatchNorm2d(2), torch.nn.Linear(4, 2)
    module = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(module.parameters())
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = module.state_dict()
    checkpoint = {"epoch": 3, "arch": "densenet121", "best_loss": 0.25, "state_dict": state, "lr": [0.1, None, True]}
    checkpoint["optimizer"] = optimizer.state_dict()
    torch.save(state, folder / "zip.pt")
    torch.save(state, folder / "protocol-4.pt", pickle_protocol=4)
    torch.save(state, folder / "stream.pt", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, folder / "checkpoint.pth.tar")
    torch.save(checkpoint, folder / "checkpoint-stream.pth.tar", _use_new_zipfile_serialization=False)
    torch.save({"half": state["0.weight"].bfloat16(), "turned": state["2.weight"].t()}, folder / "views.pt")
    torch.save(module, folder / "module.pt")
    values = {name: value.tolist() for name, value in state.items()}
    (folder / "values.json").write_text(json.dumps(values) + "\n", encoding="utf-8")


def write_outputs(folder: Path, *, torchvision: bool) -> None:
    """Write PyTorch's outputs and small files into a folder."""
    expected = {}
    for n_channels, size in CASES:
        arrays, images = random_state_dict(n_channels), random_images(n_channels, size)
        expected[f"{n_channels}-{size}"] = outputs = torch_outputs(arrays, images)
        print(f"{n_channels} channels, {size} pixels: {outputs.min():.4f} to {outputs.max():.4f}")
        if torchvision:
            difference = np.abs(torchvision_outputs(arrays, images) - outputs).max()
            print(f"  torchvision differs by at most {difference:.1e}")
    np.savez(folder / "expected.npz", **expected)
    write_small_files(folder)


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write float32 arrays in the safetensors format."""
    header, end = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            stream.write(array.tobytes())


def keras_outputs(file: Path, images: np.ndarray) -> np.ndarray:
    """Return the probabilities of cxr's network with the weights of a file; grey images are given three times."""
    from cxr_cli.models.densenet import build_densenet
    from cxr_cli.models.pretrained import load_pretrained

    model = build_densenet([f"Unit {i}" for i in range(N_UNITS)], images.shape[1:3])
    load_pretrained(model, file, keep_head=True)
    return np.asarray(model.predict(np.repeat(images, 3 // images.shape[-1], axis=-1), verbose=0))


def compare(folder: Path) -> None:
    """Print how far Keras' outputs are from PyTorch's."""
    import tempfile

    expected = np.load(folder / "expected.npz")
    with tempfile.TemporaryDirectory() as temporary:
        for n_channels, size in CASES:
            file = Path(temporary) / "weights.safetensors"
            write_safetensors(file, random_state_dict(n_channels))
            outputs = keras_outputs(file, random_images(n_channels, size))
            difference = np.abs(outputs - expected[f"{n_channels}-{size}"]).max()
            print(f"{n_channels} channels, {size} pixels: Keras differs from PyTorch by at most {difference:.1e}")


def main() -> None:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["outputs", "compare"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torchvision", action="store_true")
    options = parser.parse_args()
    if options.step == "outputs":
        options.folder.mkdir(parents=True, exist_ok=True)
        write_outputs(options.folder, torchvision=options.torchvision)
    else:
        compare(options.folder)


if __name__ == "__main__":
    main()
