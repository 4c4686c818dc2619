"""The OpenAPI document of the application, without starting anything."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from attributor.api.app import create_app
from attributor.bootstrap.api import wire
from attributor.registry.catalog import FolderCatalog
from attributor.settings import Settings
from attributor.storage.connection import RedisStore
from attributor.storage.redis_events import RedisJobEvents


def openapi_bytes() -> bytes:
    """The document as it is kept in the repository: indented, one line at the end."""
    store = RedisStore("redis://unused.invalid")  # connects at its first command, and there is none
    with TemporaryDirectory() as no_models:
        deps = wire(Settings(), store, RedisJobEvents(store), FolderCatalog(Path(no_models)))
    return (json.dumps(create_app(deps).openapi(), indent=2, ensure_ascii=False) + "\n").encode()
