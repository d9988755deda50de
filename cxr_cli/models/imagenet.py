"""ImageNet weights of DenseNet121: from Keras' cache, or downloaded into it when asked for."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import sys
from pathlib import Path

import keras

from cxr_cli.errors import InputError, argument

#: Weights without top, as published with Keras, and their MD5 there.
URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/densenet/"
    "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
MD5 = "30ee3e1110167f948a6b9946edeeb738"
#: The same with ImageNet's 1000 classes on top.
MD5_WITH_TOP = "9d60b8095a5708f2dcce2bca79d332c7"
#: Seconds without an answer after which a download is given up.
TIMEOUT = 20.0


def imagenet_file() -> Path:
    """Return the file of ImageNet weights without top, from Keras' cache, downloaded if it is not there.

    Raises
    ------
    InputError
        It is not in the cache and cannot be downloaded.
    """
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        # Keras draws a progress bar on stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            return Path(keras.utils.get_file(URL.rpartition("/")[2], URL, cache_subdir="models", file_hash=MD5))
    except Exception as error:  # Keras raises nothing more precise when a download fails.
        reason = str(error).rpartition(" -- ")[2] or type(error).__name__
        raise InputError(
            f"imagenet: the weights are not in Keras' cache and cannot be downloaded ({reason})",
            remedy=f"Get {URL} by other means and pass it: {argument('pretrained')} {URL.rpartition('/')[2]}",
        ) from error
    finally:
        socket.setdefaulttimeout(previous)


def is_imagenet_file(path: Path) -> bool:
    """Return whether a file is, byte for byte, one of the ImageNet weights that are published with Keras."""
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() in (MD5, MD5_WITH_TOP)
