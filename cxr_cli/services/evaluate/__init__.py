"""What a model is worth: metrics with intervals over patients."""
