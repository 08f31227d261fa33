"""The service as a FastAPI application."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from collection.collection import Collection
from collection.results import Match, Results
from collection.serve.limits import Limited, Limits, refusal
from collection.serve.metrics import Measured
from collection.serve.photos import check_path, check_upload, file_inside, mark
from collection.serve.security import COOKIE, Access, Guarded
from collection.serve.service import WAIT, Run, Service
from delg.common.distribution import __version__
from matching.lookup import check_crop
from matching.verdict.calibration import FALSE_MATCH_RATE
from matching.verdict.verification import TOP_K

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
ABOUT = """Searches a collection of photos for those that show what a query shows.

Every refusal is JSON with one sentence: `{"detail": "..."}`. 401 wants the token, 403 comes from a page of another
site, 404 is a photo that is not there, 408 arrived too slowly, 413 is too large, 415 is no photo, 421 is for another
host name, 422 has a wrong value, 429 and 503 want fewer requests: try again after `Retry-After` seconds."""

Name = Annotated[str, Query(description="Path of a photo of the collection.", max_length=4096)]
Upload = Annotated[UploadFile | None, File(description="A photo as a file.")]
NameField = Annotated[str | None, Form(description="Or the path of a photo of the collection.", max_length=4096)]
CropField = Annotated[str | None, Form(description="Region `x1,y1,x2,y2` of the query in its pixels.", max_length=200)]


Asked = tuple[bytes | None, str | None]
"""A query: the bytes of an uploaded photo, or the path of a photo of the collection."""


class Token(BaseModel):
    """What the page sends to be let in."""

    token: str


def create_app(
    collection: Collection, *, access: Access | None = None, limits: Limits | None = None, sync_every: float = 0.0
) -> FastAPI:
    """The application.

    Args:
      collection: what is served.
      access: who may ask; None for this machine alone, without a token.
      limits: of requests.
      sync_every: seconds between two synchronisations with the folder; 0 for one at the start alone.
    """
    access, limits = access or Access("127.0.0.1", None), limits or Limits()
    service = Service(collection, limits, sync_every)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title="delg", version=__version__, description=ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service, app.state.access = service, access
    app.include_router(router)
    app.add_middleware(Limited, limits=limits)
    app.add_middleware(Guarded, access=access)
    app.add_middleware(Measured, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    for path, (name, kind) in FILES.items():
        app.add_api_route(path, partial(_page, name, kind), include_in_schema=False)
    return app


def _page(name: str, kind: str) -> Response:
    return Response((PAGE / name).read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, str(error.detail), dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return refusal(422, f"{'.'.join(map(str, first['loc'][1:])) or 'The request'}: {first['msg']}.")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
router = APIRouter()


@router.post("/search", summary="The photos that show what a query shows, best first")
async def search(
    *,
    service: Served,
    image: Upload = None,
    name: NameField = None,
    crop: CropField = None,
    k: Annotated[int, Form(ge=1, le=1000, description="Photos in the answer.")] = 10,
    rerank: Annotated[Literal["auto", "none"], Form(description="`auto` compares local features.")] = "auto",
    verify: Annotated[int, Form(ge=1, le=200, description="Candidates whose local features are compared.")] = TOP_K,
    false_match_rate: Annotated[
        float, Form(gt=0, lt=1, description="Share of the queries without a right photo that may be answered `same`.")
    ] = FALSE_MATCH_RATE,
) -> dict[str, Any]:
    """The query is a file or a photo of the collection."""
    box = _crop(crop)
    data = await _bytes(service, image)

    def work() -> Results:
        if not len(service.collection):
            raise HTTPException(404, "The collection holds no photo yet.")
        with _query(service, data, name) as file:
            return service.collection.search(
                file,
                k,
                crop=box,
                rerank=None if rerank == "none" else rerank,
                verify=verify,
                false_match_rate=false_match_rate,
            )

    answer = (await service.search(work)).as_dict()
    answer["query"] = name if image is None else image.filename or "image"
    for one in answer["results"]:
        del one["file"]
    return answer


@router.get("/match", summary="Compares two photos of the collection")
async def match(service: Served, first: Name, second: Name) -> dict[str, Any]:
    """The inliers are pairs of pixels `x, y` in the first and in the second photo."""
    return (await _matched(service, (None, first), None, second))[0].as_dict()


@router.post("/match", summary="Compares a query with a photo of the collection")
async def match_query(
    service: Served,
    photo: Annotated[str, Form(description="Path of the second photo.", max_length=4096)],
    image: Upload = None,
    name: NameField = None,
    crop: CropField = None,
) -> dict[str, Any]:
    """The same for a query that is a file, or a part of a photo."""
    return (await _matched(service, (await _bytes(service, image), name), crop, photo))[0].as_dict()


@router.get("/overlay", summary="A picture of the inliers of two photos of the collection", response_class=Response)
async def overlay(service: Served, first: Name, second: Name) -> Response:
    """A JPEG of both photos side by side, with a line for each inlier."""
    return await _drawn(service, (None, first), None, second)


@router.post("/overlay", summary="A picture of the inliers of a query and a photo", response_class=Response)
async def overlay_query(
    service: Served,
    photo: Annotated[str, Form(description="Path of the second photo.", max_length=4096)],
    image: Upload = None,
    name: NameField = None,
    crop: CropField = None,
) -> Response:
    """The same for a query that is a file, or a part of a photo."""
    return await _drawn(service, (await _bytes(service, image), name), crop, photo)


@router.get("/images", summary="Paths of the photos, sorted")
async def images(
    service: Served,
    offset: Annotated[int, Query(ge=0, description="Photos to pass over.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Photos in the answer.")] = 100,
    contains: Annotated[str, Query(max_length=200, description="A part of the path, in any case.")] = "",
) -> dict[str, Any]:
    """One page of the list; `total` counts the whole."""
    paths = await service.draw(lambda: service.collection.paths)
    chosen = [path for path in paths if contains.lower() in path.lower()] if contains else paths
    return {"total": len(chosen), "offset": offset, "images": chosen[offset : offset + limit]}


@router.post("/images", status_code=201, summary="Adds a photo")
async def add(
    service: Served,
    image: Annotated[UploadFile, File(description="The photo as a file.")],
    path: Annotated[
        str | None, Form(description="Its path below the folder. Default: the name of the file.", max_length=4096)
    ] = None,
) -> dict[str, str]:
    """Writes the file into the folder and describes it; 409 where the folder has such a file."""
    target = check_path(path or image.filename or "")
    data = await _bytes(service, image)
    assert data is not None

    def work() -> str:
        folder = service.collection.folder
        if (folder / target).parent.resolve().is_relative_to(folder.resolve()) and (folder / target).exists():
            raise HTTPException(409, "The folder has a file of this path already.")
        return service.collection.add(data, target)

    return {"path": await service.change(work)}


@router.get("/images/{path:path}", summary="A photo", response_class=Response)
async def image_of(
    request: Request,
    service: Served,
    path: str,
    height: Annotated[int | None, Query(ge=16, le=2160, description="For a JPEG of that height at most.")] = None,
) -> Response:
    """The photo in full size, or small."""

    def work() -> tuple[str, tuple[bytes, str]]:
        file = file_inside(service.collection, path)
        tag = f'"{mark(file)}-{height or 0}"'
        if request.headers.get("if-none-match") == tag:
            return tag, (b"", "")
        return tag, service.pictures.whole(file) if height is None else (
            service.pictures.small(file, height),
            "image/jpeg",
        )

    tag, (data, kind) = await service.draw(work)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    return Response(data, headers=headers, media_type=kind) if data else Response(status_code=304, headers=headers)


@router.delete("/images/{path:path}", summary="Takes a photo out of the collection")
async def remove(
    service: Served,
    path: str,
    delete: Annotated[bool, Query(description="Delete its file, too.")] = False,
) -> dict[str, str]:
    """Without `delete` the file stays in the folder and is not searched any more."""

    def work() -> None:
        if path not in service.collection.paths:
            raise HTTPException(404, "The collection has no such photo.")
        if delete:
            file_inside(service.collection, path)
        service.collection.remove(path, delete=delete)

    await service.change(work)
    return {"path": path}


@router.post("/sync", summary="Brings the collection in step with its folder")
async def sync(service: Served) -> dict[str, Any]:
    """Begins a synchronisation and waits for its end for a while; `GET /sync/{run}` waits on."""
    return await _ended(service, service.synchronise())


@router.get("/sync/{run}", summary="Waits for a synchronisation")
async def sync_state(service: Served, run: int) -> dict[str, Any]:
    """`state` is `running`, `done` with the changes, or `failed` with the reason."""
    return await _ended(service, service.run(run))


@router.get("/status", summary="Number of photos, and what goes on")
async def status(service: Served) -> dict[str, Any]:
    """`failed` has the reason by path of files that cannot be described, at most a hundred."""
    return await service.draw(service.status)


@router.get("/health", summary="Whether the service answers")
async def health() -> dict[str, str]:
    """Needs no token, and says nothing about the photos."""
    return {"status": "ok"}


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
async def metrics(service: Served) -> Response:
    """Counts and times of requests, and the number of photos."""
    gauges = {
        "delg_photos": ("Photos that are searched.", float(await service.draw(lambda: len(service.collection)))),
        "delg_synchronising": ("Whether a synchronisation runs or waits.", float(service.synchronising)),
        "delg_requests_in_progress": ("Requests without an answer yet.", float(service.metrics.in_progress)),
    }
    return Response(service.metrics.text(gauges), media_type="text/plain; version=0.0.4")


@router.post("/session", summary="Lets the page in")
async def session(request: Request, token: Token) -> Response:
    """Sets a cookie that stands for the token, so that a browser may ask for pictures."""
    access: Access = request.app.state.access
    if access.token is not None and not access.is_token(token.token):
        return refusal(401, "This is not the token of the service.")
    answer = Response(status_code=204)
    answer.set_cookie(COOKIE, access.session, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


async def _bytes(service: Service, image: UploadFile | None) -> bytes | None:
    """The bytes of an uploaded photo whose head has been checked."""
    if image is None:
        return None
    data = await image.read()
    await service.draw(partial(check_upload, data, service.limits.pixels))
    return data


@contextmanager
def _query(service: Service, data: bytes | None, name: str | None) -> Iterator[Path]:
    """The file of a query, which is either uploaded or a photo of the collection."""
    if (data is None) == (name is None):
        raise HTTPException(422, "Expected an image, or the name of a photo of the collection.")
    if data is None:
        file = file_inside(service.collection, name or "")
        service.pictures.check(file)
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "query")
        file.write_bytes(data)
        yield file


async def _matched(
    service: Service, query: Asked, crop: str | None, photo: str, *, drawn: bool = False
) -> tuple[Match, bytes]:
    """A comparison, and its picture where that is wanted."""
    box = _crop(crop)

    def work() -> tuple[Match, bytes]:
        with _query(service, *query) as file:
            other = file_inside(service.collection, photo)
            service.pictures.check(other)
            match = service.collection.match(file, other, crop=box)
            return match, service.pictures.overlay(file, other, match.pairs, box) if drawn else b""

    return await service.search(work)


async def _drawn(service: Service, query: Asked, crop: str | None, photo: str) -> Response:
    match, picture = await _matched(service, query, crop, photo, drawn=True)
    return Response(picture, media_type="image/jpeg", headers={"X-Inliers": str(match.inliers)})


def _crop(text: str | None) -> tuple[float, float, float, float] | None:
    """The region of a text ``x1,y1,x2,y2``."""
    if not text:
        return None
    try:
        return check_crop([float(side) for side in text.split(",")])
    except ValueError as error:
        raise HTTPException(422, "crop: expected x1,y1,x2,y2 with x1 < x2 and y1 < y2.") from error


async def _ended(service: Service, run: Run) -> dict[str, Any]:
    """A synchronisation, after its end or after some seconds."""
    await asyncio.wait([asyncio.wrap_future(run.future)], timeout=min(WAIT, service.limits.seconds / 2))
    if not run.future.done():
        return {"run": run.number, "state": "running"}
    error = None if run.future.cancelled() else run.future.exception()
    if run.future.cancelled() or error is not None:
        reason = "The service stops." if error is None else service.public(error)
        return {"run": run.number, "state": "failed", "reason": reason}
    return {"run": run.number, "state": "done", "changes": vars(run.future.result())}
