"""The networks: tensors in, tensors out. Files are the business of `weights`."""
