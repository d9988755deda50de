"""Write DenseNet121 with random batch-norm statistics in every format that Keras 2 has, and what it computes."""

import sys
from pathlib import Path

import numpy as np
import tf_keras

folder = Path(sys.argv[1])
random = np.random.default_rng(11)


def randomise(network):
    for layer in network.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (
                random.uniform(low, high, layer.gamma.shape)
                for low, high in ((0.5, 1.5), (-0.2, 0.2), (-0.2, 0.2), (0.5, 2.0))
            )
            layer.set_weights([gamma, beta, mean, variance])


base = tf_keras.applications.DenseNet121(weights=None, include_top=False, input_shape=(128, 128, 3))
randomise(base)
pooled = tf_keras.layers.GlobalAveragePooling2D()(base.output)
predictions = tf_keras.layers.Dense(5, activation="sigmoid", bias_initializer="random_normal")(pooled)
whole = tf_keras.Model(base.input, predictions)
nested = tf_keras.Sequential([base, tf_keras.layers.GlobalAveragePooling2D(), whole.layers[-1]])
whole.compile("adam", "binary_crossentropy")

images = random.normal(size=(2, 128, 128, 3)).astype(np.float32)
np.savez(folder / "numbers.npz", images=images, features=base.predict(images), predictions=whole.predict(images))
base.save_weights(folder / "base.hdf5", save_format="h5")
whole.save_weights(folder / "base_and_head.h5")
whole.save_weights(folder / "whole.weights.h5")
whole.save(folder / "model.h5")
whole.save(folder / "model.keras")
nested.save(folder / "nested.h5")
nested.save(folder / "nested.keras")
