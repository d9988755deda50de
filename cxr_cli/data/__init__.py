"""Files in, frames and arrays out."""
