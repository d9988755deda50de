"""DICOM files: headers, and pixels from stored values to grey in the order of the standard."""
