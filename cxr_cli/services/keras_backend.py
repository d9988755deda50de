"""Keras computes with TensorFlow here, whatever the environment or its configuration file names."""

from __future__ import annotations

import os
import sys

from cxr_cli.errors import UsageError

BACKEND = "tensorflow"


def require_tensorflow() -> None:
    """Make sure that Keras, when it is imported, computes with TensorFlow; call it before the import.

    A backend in Keras' configuration file (``~/.keras/keras.json``) is passed over, for this process.

    Raises
    ------
    UsageError
        The environment asks for another backend, or Keras was imported with one.
    """
    keras = sys.modules.get("keras")
    chosen = os.environ.get("KERAS_BACKEND") or BACKEND
    if keras is not None and hasattr(keras, "config"):
        chosen = keras.config.backend()
    if chosen != BACKEND:
        raise UsageError(
            f"KERAS_BACKEND is {chosen}",
            expected=f"{BACKEND}, with which cxr builds, trains and checks its models",
            remedy="Unset KERAS_BACKEND for this command.",
        )
    os.environ["KERAS_BACKEND"] = BACKEND
