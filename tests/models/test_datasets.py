import json

import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.errors import UsageError
from cxr_cli.models.datasets import StoreDataset, tf_dataset
from cxr_cli.services.preprocess.options import Options
from cxr_cli.services.preprocess.preprocess import preprocess
from cxr_cli.services.store.reader import open_store
from cxr_cli.services.store.recipe import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory, sample_data):
    folder = tmp_path_factory.mktemp("store")
    table = folder / "few.csv"
    lines = (sample_data / "train-small.csv").read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:11]))
    options = Options(Recipe(image_size=(16, 16), dtype="uint8"))
    preprocess(read_labels(table), sample_data / "images-small", folder / "out", options, workers=1)
    return open_store(folder / "out")


def test_batches_in_order_and_a_smaller_last_one(store):
    dataset = StoreDataset(store, batch_size=4)
    assert len(dataset) == 3
    batches = [dataset[number] for number in range(3)]
    assert [images.shape for images, _ in batches] == [(4, 16, 16, 3), (4, 16, 16, 3), (2, 16, 16, 3)]
    images = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(images, np.repeat(store.batch(slice(None))[..., None], 3, axis=-1))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), store.labels)


def test_shuffling_is_a_new_order_each_epoch_and_the_same_each_time(store):
    def epochs():
        dataset = StoreDataset(store, batch_size=10, shuffle=True, seed=3)
        first = dataset[0][1]
        dataset.on_epoch_end()
        return first, dataset[0][1]

    first, second = epochs()
    assert not np.array_equal(first, second)
    for labels in (first, second):
        np.testing.assert_array_equal(np.sort(labels, axis=0), np.sort(store.labels, axis=0))
    np.testing.assert_array_equal(epochs()[1], second)


def test_some_rows_only(store):
    dataset = StoreDataset(store, batch_size=8, rows=np.array([7, 2]))
    np.testing.assert_array_equal(dataset[0][1], store.labels[[7, 2]])
    with pytest.raises(UsageError, match="batch size 0"):
        StoreDataset(store, batch_size=0)


def test_tf_data_gives_the_same(store):
    batches = list(tf_dataset(store, batch_size=4).as_numpy_iterator())
    dataset = StoreDataset(store, batch_size=4)
    assert len(batches) == len(dataset)
    for number, (images, labels) in enumerate(batches):
        np.testing.assert_array_equal(images, dataset[number][0])
        np.testing.assert_array_equal(labels, dataset[number][1])
    shuffled = np.concatenate([labels for _, labels in tf_dataset(store, 4, shuffle=True).as_numpy_iterator()])
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(store.labels, axis=0))


def test_a_batch_has_the_shapes_of_the_courses_generator(real_data, tmp_path):
    values = json.loads((real_data / "reference_values.json").read_text())["values"]
    expected = next(item["expected"] for item in values if item["id"] == "preprocess.generator.batch")
    table = read_labels(real_data / "nih" / "train-small.csv")
    preprocess(table, real_data / "nih" / "images-small", tmp_path, Options(Recipe(dtype="uint8")), workers=1)
    images, labels = StoreDataset(open_store(tmp_path), batch_size=8)[0]
    assert [list(images.shape), list(labels.shape)] == [expected["x_shape"], expected["y_shape"]]
