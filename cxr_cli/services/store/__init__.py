"""Read what ``cxr preprocess`` writes: manifest, recipe, standardization and pixels."""
