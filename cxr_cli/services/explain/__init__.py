"""Show where a model looks, and measure it against boxes drawn by radiologists."""
