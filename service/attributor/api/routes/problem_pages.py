"""/problems: what the `type` of a problem document points to."""

from fastapi import APIRouter, Response

from attributor.api.problems import STATUS, documented, problem
from attributor.api.representation import as_json

router = APIRouter(prefix="/problems", tags=["problems"])


@router.get("", summary="List problem codes")
async def list_problems() -> dict[str, dict[str, int | str]]:
    """Every code, with its status and title."""
    return {code: {"status": status, "title": title} for code, (status, title) in STATUS.items()}


@router.get("/{code}", summary="Explain a problem code", responses=documented(404, 422))
async def get_problem(code: str) -> Response:
    """The status and the title of one code."""
    if code not in STATUS:
        return problem("not_found", f"there is no problem code '{code}'")
    status, title = STATUS[code]
    return as_json({"code": code, "status": status, "title": title})
