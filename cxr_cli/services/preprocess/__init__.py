"""Turn images into a store of standardized pixels."""
