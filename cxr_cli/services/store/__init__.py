"""Read the output of ``cxr preprocess``: manifest, recipe, standardization and pixels."""
