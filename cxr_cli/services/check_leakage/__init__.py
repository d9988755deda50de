"""Find patients, images and copies of images that splits share, and remove them."""
