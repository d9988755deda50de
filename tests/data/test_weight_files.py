import gzip
import io
import json
import pickle
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_cli.data.weight_files import open_weight_file, read_array
from cxr_cli.errors import CxrError, InputError, WeightsFileError


def archive(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in members.items():
            file.writestr(name.replace("__", "."), member)
    return content.getvalue()


def hdf5(write):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        write(file)
    return content.getvalue()


def small(file):
    file.attrs["layer_names"] = [b"conv1/conv"]
    group = file.create_group("conv1/conv")
    group.attrs["weight_names"] = [b"conv1/conv/kernel:0"]
    group["conv1/conv/kernel:0"] = np.arange(4.0).reshape(1, 1, 2, 2)


FOREIGN = {
    "empty": (b"", "is empty"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 29\n", "Git-LFS pointer"),
    "html": (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "HTML page"),
    "html with byte-order mark": (b"\xef\xbb\xbf<html></html>", "HTML page"),
    "pickle": (pickle.dumps({"a": 1}), "pickle"),
    "pytorch": (archive(**{"archive/data__pkl": b"x", "archive/data/0": b"x"}), "PyTorch"),
    "npz": (archive(a__npy=b"x"), ".npz"),
    "zip around it": (archive(densenet__hdf5=b"x"), "around densenet.hdf5"),
    "other zip": (archive(readme__txt=b"x"), "ZIP archive of something else"),
    "gzip": (gzip.compress(b"x"), "gzip"),
    "safetensors": ((2).to_bytes(8, "little") + b'{"a":1}', "safetensors"),
    "json": (b'{"a": 1}', "JSON"),
    "zeros": (bytes(4096), "zero bytes"),
    "text mode": (b"\x89HDF\n\x1a\n" + bytes(100), "transferred as text"),
    "anything": (b"hello", "not an HDF5 file"),
    "head only": (hdf5(small)[:200], "is cut off"),
    "without weights": (hdf5(lambda file: None), "holds no weights"),
    "cut .keras": (archive(config__json=b"{}", model__weights__h5=bytes(999))[:500], "is cut off"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_weight_file_is_named(tmp_path, name):
    content, text = FOREIGN[name]
    path = tmp_path / "densenet.hdf5"
    path.write_bytes(content)
    with pytest.raises(WeightsFileError) as caught, open_weight_file(path):
        pass
    assert text in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_folders(tmp_path):
    with pytest.raises(WeightsFileError, match="is a folder"), open_weight_file(tmp_path):
        pass
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(WeightsFileError, match="SavedModel"), open_weight_file(tmp_path):
        pass


def test_missing(tmp_path):
    with pytest.raises(InputError, match="no such file"), open_weight_file(tmp_path / "x.h5"):
        pass


def test_extension_and_case_do_not_matter(tmp_path):
    path = tmp_path / "weights.H5.download"
    path.write_bytes(hdf5(small))
    with open_weight_file(path) as file:
        (layer,) = file.layers
        assert (layer.label, layer.kind) == ("conv1/conv", "conv2d")
        assert read_array(file, layer, "kernel").tolist() == [[[[0, 1], [2, 3]]]]
        assert read_array(file, layer, "kernel").dtype == np.float32


def container(file, path, shapes, **attributes):
    group = file.create_group(f"layers/{path}/vars")
    group.attrs.update(attributes)
    for index, shape in enumerate(shapes):
        group[str(index)] = np.ones(shape, np.float32)


def test_containers_of_keras_3_come_in_the_order_of_their_numbers(tmp_path):
    def write(file):
        for number in (10, 2, 9, 1):
            container(file, f"conv2d_{number}", [(1, 1, number, 1)])
        container(file, "conv2d", [(1, 1, 7, 1)])
        container(file, "batch_normalization", [(1,)] * 4, name="first_bn")
        file.create_group("optimizer/vars")["0"] = np.ones(3, np.float32)

    path = tmp_path / "a.weights.h5"
    path.write_bytes(hdf5(write))
    with open_weight_file(path) as file:
        convolutions = [layer for layer in file.layers if layer.kind == "conv2d"]
        assert [layer.arrays["kernel"].shape[2] for layer in convolutions] == [7, 1, 2, 9, 10]
        (normalisation,) = (layer for layer in file.layers if layer.kind == "batch_normalization")
        assert normalisation.path == "first_bn"
        assert list(normalisation.arrays) == ["gamma", "beta", "moving_mean", "moving_variance"]
        assert len(file.layers) == 6


def test_layers_that_are_attributes_of_their_model(tmp_path):
    def write(file):
        for attribute, shapes in (("head", [(1024, 5), (5,)]), ("stem", [(7, 7, 3, 64)]), ("norm", [(64,)] * 4)):
            group = file.create_group(f"{attribute}/vars")
            for index, shape in enumerate(shapes):
                group[str(index)] = np.ones(shape, np.float32)

    path = tmp_path / "a.weights.h5"
    path.write_bytes(hdf5(write))
    with open_weight_file(path) as file:
        found = {layer.kind: list(layer.arrays) for layer in file.layers}
    assert found == {
        "dense": ["kernel", "bias"],
        "conv2d": ["kernel"],
        "batch_normalization": ["gamma", "beta", "moving_mean", "moving_variance"],
    }


def test_names_of_an_archive_come_from_its_configuration(tmp_path):
    def write(file):
        container(file, "dense", [(2, 3), (3,)])
        file.create_group("layers/functional/layers/conv2d/vars")["0"] = np.ones((1, 1, 1, 1), np.float32)
        file.create_group("layers/functional/layers/conv2d_1/vars")["0"] = np.ones((1, 1, 1, 2), np.float32)

    convolutions = [{"class_name": "Conv2D", "config": {"name": name}} for name in ("conv1/conv", "second")]
    inner = {"class_name": "Functional", "config": {"name": "base", "layers": convolutions}}
    dense = {"class_name": "Dense", "config": {"name": "head"}}
    config = {"class_name": "Sequential", "config": {"layers": [inner, dense]}}
    path = tmp_path / "model.keras"
    path.write_bytes(archive(config__json=json.dumps(config), model__weights__h5=hdf5(write)))
    with open_weight_file(path) as file:
        assert {layer.path: layer.kind for layer in file.layers} == {
            "head": "dense",
            "conv1/conv": "conv2d",
            "second": "conv2d",
        }


@pytest.mark.parametrize("kind", ["Lambda", "__lambda__"])
def test_code_in_a_configuration_is_refused(tmp_path, kind):
    bomb = {"class_name": "Functional", "config": {"layers": [{"config": {"activation": {"class_name": kind}}}]}}
    path = tmp_path / "model.keras"
    path.write_bytes(archive(config__json=json.dumps(bomb), model__weights__h5=hdf5(small)))
    with pytest.raises(WeightsFileError, match="program code; refused"), open_weight_file(path):
        pass


def test_links_are_refused(tmp_path):
    secret = tmp_path / "secret.h5"
    secret.write_bytes(hdf5(small))
    for link in (h5py.ExternalLink(str(secret), "/"), h5py.SoftLink("/conv1")):

        def write(file, link=link):
            small(file)
            file["elsewhere"] = link

        path = tmp_path / "densenet.h5"
        path.write_bytes(hdf5(write))
        with pytest.raises(WeightsFileError, match="elsewhere is a link"), open_weight_file(path):
            pass


def test_numbers_kept_in_another_file_are_refused(tmp_path):
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(32))
    path = tmp_path / "densenet.h5"
    with h5py.File(path, "w") as file:
        small(file)
        del file["conv1/conv/conv1/conv/kernel:0"]
        file["conv1/conv"].create_dataset(
            "conv1/conv/kernel:0", (1, 1, 2, 2), np.float64, external=[(str(raw), 0, h5py.h5f.UNLIMITED)]
        )
    with open_weight_file(path) as file, pytest.raises(WeightsFileError, match="points to another file"):
        read_array(file, file.layers[0], "kernel")


def test_archive_bombs_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", "{}")
        with file.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(2**20))
    with pytest.raises(WeightsFileError, match="would unpack to 314,572,800 bytes"), open_weight_file(path):
        pass


def test_layers_without_weights_have_an_empty_list_of_numbers_for_names(tmp_path):
    def write(file):
        small(file)
        file.attrs["layer_names"] = [b"conv1/conv", b"conv1/relu"]
        # What h5py makes of an empty list; files that Keras wrote are full of them.
        file.create_group("conv1/relu").attrs["weight_names"] = []

    path = tmp_path / "weights.h5"
    path.write_bytes(hdf5(write))
    with open_weight_file(path) as file:
        assert [list(layer.arrays) for layer in file.layers] == [["kernel"]]


def test_array_that_is_named_but_not_there(tmp_path):
    def write(file):
        small(file)
        file["conv1/conv"].attrs["weight_names"] = [b"conv1/conv/bias:0"]

    path = tmp_path / "densenet.h5"
    path.write_bytes(hdf5(write))
    with pytest.raises(WeightsFileError, match="names conv1/conv/bias:0 of layer conv1/conv"), open_weight_file(path):
        pass


WHOLE = hdf5(small)


# HDF5 never comes back from reading text whose place in the file is damaged in some ways, and cannot be interrupted.
# The search is the same each time, so that no run can come to stand still by chance.
@settings(max_examples=200, derandomize=True)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_file_gives_an_error_of_ours_or_its_arrays(tmp_path_factory, place, value, cut):
    content = WHOLE[:place] if cut else WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :]
    path = tmp_path_factory.getbasetemp() / "damaged.h5"
    path.write_bytes(content)
    try:
        with open_weight_file(path) as file:
            for layer in file.layers:
                for weight in layer.arrays:
                    read_array(file, layer, weight)
    except CxrError as error:
        assert str(path) in str(error)
