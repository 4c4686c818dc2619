"""The code of the benchmark's bundles: each file is a bundle's model.py as it stands, with a `build()`."""
