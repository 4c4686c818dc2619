"""What the worker sends to the comparators' process: one message on its standard input. Knows no torch, no Captum.

A length (4 bytes, little-endian), a JSON head of that length, and the job's specification as `jobs.codec` writes it.
"""

from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import orjson

from attributor.jobs.codec import decode, encode
from attributor.jobs.job import JobSpec

_LENGTH = Struct("<I")


@dataclass(frozen=True, slots=True)
class Request:
    """A job, the folder of its model's bundle, and how to compute: a torch device, threads of torch's CPU kernels.

    `allow_torch_export`: whether the worker loads programs of torch.export.
    """

    folder: Path
    spec: JobSpec
    device: str
    threads: int
    allow_torch_export: bool = False

    def pack(self) -> bytes:
        """The message."""
        head = orjson.dumps(
            {
                "folder": str(self.folder),
                "device": self.device,
                "threads": self.threads,
                "allow_torch_export": self.allow_torch_export,
            }
        )
        return b"".join((_LENGTH.pack(len(head)), head, encode(self.spec)))


def unpack(data: bytes) -> Request:
    """The request in a message. Raises ValueError for other bytes, and KeyError for a head that lacks something."""
    if len(data) < _LENGTH.size:
        raise ValueError("the message is cut off")
    (length,) = _LENGTH.unpack_from(data)
    end = _LENGTH.size + length
    head = orjson.loads(data[_LENGTH.size : end])
    spec = decode(data[end:], JobSpec)
    return Request(Path(head["folder"]), spec, head["device"], head["threads"], head["allow_torch_export"])
