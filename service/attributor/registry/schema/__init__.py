"""The form of manifest.toml, table by table. Knows pydantic; knows nothing of files on disk."""
