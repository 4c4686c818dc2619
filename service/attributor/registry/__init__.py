"""Bundles on disk: manifest, verification, loading, proof."""
