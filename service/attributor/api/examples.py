"""A request for every feature, with what it answers: shown in the OpenAPI document, and made into docs/explaining.md.

`digits` and `breast-cancer` are served from this repository. The other models named here stand for any with such inputs
or outputs; tests hold the bodies to models of that kind.
"""

from fastapi.openapi.models import Example

from attributor.api.examples_of_inputs import INPUTS
from attributor.api.examples_of_methods import METHODS
from attributor.api.examples_of_paths import PATHS
from attributor.api.examples_of_targets import TARGETS

#: By name, in the order of the page.
EXAMPLES: dict[str, Example] = TARGETS | INPUTS | PATHS | METHODS
