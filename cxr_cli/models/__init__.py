"""Keras code: the only package that imports tensorflow or keras at module level."""
