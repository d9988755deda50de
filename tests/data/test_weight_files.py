import gzip
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr_cli.data import hdf5_reader, weight_files
from cxr_cli.data.weight_files import open_weight_file, read_array
from cxr_cli.errors import CxrError, InputError, MachineError, WeightsFileError
from tests.conftest import ROOT


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
    "without weights": (hdf5(lambda file: None), "has no weights"),
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


@settings(max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_file_gives_an_error_of_ours_or_its_arrays(quick_reader, tmp_path_factory, place, value, cut):
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


# ------------------------------------------------------------------------------------------------- hostile files


def refused(path, *texts):
    with pytest.raises(WeightsFileError) as caught, open_weight_file(path) as file:
        for layer in file.layers:
            for weight in layer.arrays:
                read_array(file, layer, weight)
    for text in texts:
        assert text in str(caught.value)
    return str(caught.value)


def written(path, write):
    with h5py.File(path, "w") as file:
        write(file)
    return path


@pytest.mark.parametrize("tree", ["optimizer", "optimizer_weights", "metrics", "loss_tracker", "seed_generator"])
@pytest.mark.parametrize("below", [False, True])
def test_links_in_trees_that_are_passed_over_are_never_opened(tmp_path, tree, below):
    def secret(file):
        file.create_group("g").attrs["weight_names"] = [b"SECRET"]
        file.create_group("g/inside").attrs["weight_names"] = [b"SECRET"]

    written(tmp_path / "other.h5", secret)

    def write(file):
        file[tree] = h5py.ExternalLink(str(tmp_path / "other.h5"), "g")
        file.attrs["layer_names"] = [f"{tree}/inside".encode() if below else tree.encode()]
        file["conv1/kernel"] = np.ones((2, 2))

    assert "SECRET" not in refused(written(tmp_path / "a.h5", write), f"names layer {tree}")


def hanging(path):
    """Write the smallest file on which HDF5 does not come back: the length of a text in the global heap is 0."""
    written(path, lambda file: (file.attrs.update(model_config="{}"), file.update({"d/kernel": np.ones((2, 2), "f4")})))
    content = bytearray(path.read_bytes())
    content[content.find(b"GCOL") + 24] = 0
    path.write_bytes(content)
    return path


def test_a_file_on_which_hdf5_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_files, "CPU_SECONDS", 1)
    refused(hanging(tmp_path / "a.h5"), "did not come to an end")
    monkeypatch.setattr(weight_files, "CPU_SECONDS", 60)
    monkeypatch.setattr(weight_files, "PATIENCE", 2)
    refused(tmp_path / "a.h5", "did not come to an end", "2 seconds")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_the_wait_for_hdf5(tmp_path):
    path = hanging(tmp_path / "a.h5")
    patient = (
        "import cxr_cli.data.weight_files as files; files.CPU_SECONDS = files.PATIENCE = 600; "
        "from cxr_cli.__main__ import main; main()"
    )
    command = [sys.executable, "-c", patient, "build-model", "--pathologies", "A", "--pretrained", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, cwd=ROOT)
    deadline = time.monotonic() + 120
    try:
        while not is_reading(path) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.stderr.close()
    assert not readers_of(path)


def readers_of(path):
    """Return the processes that read a weight file."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"-P", str(path)} <= set(process.info["cmdline"] or ())
    ]


def is_reading(path):
    """Whether a process has computed for longer than importing h5py takes: it is inside HDF5."""
    try:
        return any(reader.cpu_times().user > 1.5 for reader in readers_of(path))
    except psutil.NoSuchProcess:
        return False


def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, text in ((tmp_path / "fifo", "is a pipe"), (Path("/dev/zero"), "is a device")):
        with pytest.raises(InputError, match=text), open_weight_file(path):
            pass


BOUNDS = {
    "objects": (lambda file: [file.create_group(f"g{i}") for i in range(13_000)], "more than 12,000 groups"),
    "levels": (lambda file: file.create_group("/".join("d" * 40)), "more than 32 levels"),
    "pieces": (
        lambda file: file.create_dataset("d/kernel", (200, 200), "f4", chunks=(1, 1)),
        "more than 20,000 pieces",
    ),
    "names": (lambda file: file.attrs.update(layer_names=[b"x"] * 3000, **{"a": 1}), "does not hold it"),
    "parts": (lambda file: file.attrs.update({f"layer_names{i}": [b""] for i in range(300)}), "divided into too many"),
    "configuration": (lambda file: file.attrs.update(model_config="1" * 2**24 + "1"), "configuration"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_files_larger_than_any_model_are_refused(tmp_path, quick_reader, name):
    write, text = BOUNDS[name]
    refused(written(tmp_path / "a.h5", write), text)


def test_a_configuration_that_unpacks_to_too_much_is_refused(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", " " * 2**25)
        file.writestr("model.weights.h5", hdf5(small))
    refused(path, "config.json in it would unpack to 33,554,432 bytes")


def test_memory_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_files, "MEMORY", 400 * 2**20)
    path = written(tmp_path / "a.h5", lambda file: file.create_dataset("d/kernel", (10_000, 10_000), "f4", fillvalue=1))
    refused(path, "memory")


def test_other_formats_of_tensorflow_are_named_with_the_conversion(tmp_path):
    (tmp_path / "ck.index").write_bytes(b"x")
    (tmp_path / "ck.data-00000-of-00001").write_bytes(b"x")
    for name in ("ck", "ck.index", "ck.data-00000-of-00001"):
        refused(tmp_path / name, "TensorFlow checkpoint", "model.load_weights('ck')", "save_weights")
    refused(tmp_path, "folder with a TensorFlow checkpoint", "model.load_weights('ck')")
    (tmp_path / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    refused(tmp_path / "model.tflite", "TensorFlow Lite", "Keras model that it was made from")
    (tmp_path / "sm").mkdir()
    (tmp_path / "sm" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x05")
    refused(tmp_path / "sm", "SavedModel", "tf.keras.models.load_model('sm').save_weights")
    refused(tmp_path / "sm" / "saved_model.pb", "SavedModel", "save_weights")


@pytest.mark.parametrize(("weight", "value"), [("kernel", 0), ("kernel", 1e-60), ("moving_variance", 0)])
def test_arrays_of_zeros_are_refused(tmp_path, quick_reader, weight, value):
    path = written(tmp_path / "a.h5", lambda file: file.update({f"d/{weight}": np.full(4, value, "f8")}))
    refused(path, f"{weight} of layer d is 0 everywhere")


def test_this_process_never_opens_hdf5(tmp_path):
    path = written(tmp_path / "a.h5", small)
    code = (
        "import sys; from cxr_cli.data.weight_files import open_weight_file\n"
        f"with open_weight_file({str(path)!r}) as file: print(len(file.layers), 'h5py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["1", "False"]


def test_a_full_disk_for_temporary_files_is_not_blamed_on_the_weights(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this platform has no device that is always full")
    path = written(tmp_path / "a.h5", small)
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(hdf5_reader.CannotWriteError, match="space"):
        hdf5_reader.read(path, full)
    (tmp_path / "found.json").write_text('{"error": "machine", "what": "No space left on device"}')
    with pytest.MonkeyPatch.context() as patch, pytest.raises(MachineError, match="No space left"):
        patch.setattr(weight_files, "run_reader", lambda arguments, patience: 0)
        weight_files._read_in_process(path, tmp_path, 1)
