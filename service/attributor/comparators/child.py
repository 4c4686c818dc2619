"""The comparators' process: reads one request, has it answered, writes one answer, ends.

Standard output carries the answer and nothing else: what libraries print, also while they are loaded, goes to standard
error. So nothing but Python's own modules may be imported before that is arranged.
"""

import os
import sys
from typing import BinaryIO


def main() -> None:
    """Standard input to standard output."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        _serve(sys.stdin.buffer, out)


def _serve(given: BinaryIO, out: BinaryIO) -> None:
    from attributor.comparators.answering import answer
    from attributor.comparators.request import unpack
    from attributor.jobs.codec import encode

    out.write(encode(answer(unpack(given.read()))))


if __name__ == "__main__":
    main()
