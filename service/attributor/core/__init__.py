"""Mathematics: rules, integrators, paths, completeness. Knows numpy; holds no tensor and calls no model."""
