"""Methods of other makers, for comparison: Captum's, in a process of their own with its own copy of the model."""
