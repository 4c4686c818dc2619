"""/problems: what the `type` of a problem document points to."""

from fastapi import APIRouter, Response

from attributor.api.documents import ProblemCodeDocument, ProblemPageDocument
from attributor.api.problem_codes import CODES
from attributor.api.problems import documented, problem
from attributor.api.representation import as_json

router = APIRouter(prefix="/problems", tags=["problems"])


@router.get("", summary="List problem codes")
async def list_problems() -> dict[str, ProblemCodeDocument]:
    """Every code, with its status and title."""
    return {code: ProblemCodeDocument(status=each.status, title=each.title) for code, each in CODES.items()}


@router.get(
    "/{code}",
    summary="Explain a problem code",
    responses={200: {"model": ProblemPageDocument}, **documented(404, 422)},
)
async def get_problem(code: str) -> Response:
    """What one code means, and what to do."""
    if code not in CODES:
        return problem("not_found", f"there is no problem code '{code}'; GET /problems lists them")
    each = CODES[code]
    return as_json(
        {"code": code, "status": each.status, "title": each.title, "meaning": each.means, "what_to_do": each.advice}
    )
