"""Which backend Keras computes with: TensorFlow in every command, whatever the environment or its files name."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from cxr_cli.errors import MissingPackageError, UsageError

BACKEND = "tensorflow"
#: What each of Keras' backends needs; Keras' own numpy backend resizes images with JAX.
_PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch", "numpy": "jax", "openvino": "openvino"}


def require_tensorflow() -> None:
    """Make sure that Keras computes with TensorFlow, before it is imported: every command does.

    A backend in Keras' configuration file (``~/.keras/keras.json``) is passed over, for this process.

    Raises
    ------
    UsageError
        The environment asks for another backend, or Keras was imported with one.
    """
    chosen = _imported() or os.environ.get("KERAS_BACKEND") or BACKEND
    if chosen != BACKEND:
        raise UsageError(
            f"KERAS_BACKEND is {chosen}",
            expected=f"{BACKEND}, with which cxr builds, trains and checks its models",
            remedy="Unset KERAS_BACKEND for this command.",
        )
    os.environ["KERAS_BACKEND"] = BACKEND


def start_keras() -> None:
    """Import Keras and let TensorFlow look for devices: seconds, and chatter on stderr that a caller may catch.

    Raises
    ------
    UsageError
        As in `require_tensorflow`.
    """
    require_tensorflow()
    import keras

    keras.ops.zeros(1)


def check_backend() -> None:
    """Check that the backend which the environment asks for can be imported; losses and metrics work with any.

    Raises
    ------
    UsageError
        It is not one of Keras'.
    MissingPackageError
        It is not installed.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    if _imported() is not None or not chosen:
        return
    if chosen not in _PACKAGES:
        raise UsageError(
            f"KERAS_BACKEND is {chosen}, which is not a backend of Keras",
            expected=f"one of {', '.join(_PACKAGES)}",
            remedy="Unset KERAS_BACKEND.",
        )
    if find_spec(_PACKAGES[chosen]) is None:
        raise MissingPackageError(
            f"KERAS_BACKEND is {chosen}, which needs {_PACKAGES[chosen]}, and that is not installed",
            remedy="Unset KERAS_BACKEND, or install it.",
        )


def _imported() -> str | None:
    """Return the backend of Keras if it is imported already."""
    config = getattr(sys.modules.get("keras"), "config", None)
    return None if config is None else str(config.backend())
