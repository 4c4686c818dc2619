"""What a person sends to arrays of the declared shape: tensors, named features, images."""
