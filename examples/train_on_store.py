"""Train a model that ``cxr build-model`` saved on the images that ``cxr preprocess`` stored.

Usage, after the first three commands have made the store and the model::

    cxr preprocess train-small.csv --dtype uint8 --image-size 64 --output store
    cxr weights train-small.csv --save weights.json
    cxr build-model --store store --class-weights weights.json --save model.keras
    python train_on_store.py store model.keras trained.keras
"""

import argparse

import keras

from cxr_cli import StoreDataset, open_store  # with it, the loss and the metrics are known to Keras

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("store", help="output folder of cxr preprocess")
parser.add_argument("model", help="what cxr build-model --save wrote")
parser.add_argument("trained", help="where the trained model goes, ending in .keras")
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

keras.utils.set_random_seed(arguments.seed)
batches = StoreDataset(open_store(arguments.store), arguments.batch_size, shuffle=True, seed=arguments.seed)
model = keras.models.load_model(arguments.model)
history = model.fit(batches, epochs=arguments.epochs, verbose=2)
model.save(arguments.trained)
