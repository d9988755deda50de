"""Build a DenseNet121, load its pretrained weights and describe it."""
