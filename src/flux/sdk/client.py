"""A client of a running server: ``Flux("http://host:8080", token=…)``. The same calls, the same errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from flux.domain.duration import SECOND, parse_duration, parse_instant
from flux.domain.errors import Conflict, FieldError, FluxError, Invalid, NotFound, TooDeep, Unavailable
from flux.domain.job import Attempt, Job, JobError, JobState, Options
from flux.domain.request import JobRequest
from flux.engine.ports import Here
from flux.sdk.errors import AccessDenied

if TYPE_CHECKING:
    import httpx

    from flux.sdk.doors import Accepted

PREFIX = "/api/v1"
TIMEOUT = 30.0
"""Seconds that an answer may take, besides the waiting that was asked for."""

LONGEST_WAIT = 25.0
"""Seconds of one waiting call: shorter than the patience of usual proxies."""

_encoder = msgspec.json.Encoder()
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(JobRequest)}


class RemoteDoor:
    """Jobs of a server, over REST."""

    def __init__(
        self, url: str, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """``transport`` replaces the network (tests). Raises ``ImportError`` without httpx."""
        try:
            import httpx
        except ImportError:
            raise ImportError('a client of a server needs httpx: pip install "flux[client]"') from None
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        base = url.rstrip("/")
        self._client = httpx.AsyncClient(
            base_url=base if base.endswith(PREFIX) else base + PREFIX,
            headers=headers,
            timeout=TIMEOUT,
            transport=transport,
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
        )
        self._url = url

    async def submit(self, requests: Sequence[JobRequest]) -> Sequence[Accepted]:
        """See ``Door``."""
        if not requests:
            return []
        if len(requests) == 1:
            return [_job(await self._call("POST", "/jobs", _body(requests[0])))]
        answer = await self._call("POST", "/jobs/batch", {"jobs": [_body(request) for request in requests]})
        return msgspec.convert(answer["jobs"], list[_Accepted])

    async def submit_within(
        self, connection: object, here: Here | None, requests: Sequence[JobRequest]
    ) -> Sequence[Accepted]:
        """See ``Door``. Always refused: the server has transactions of its own."""
        raise Invalid.one(
            "connection",
            f"a transaction cannot reach through the server {self._url}: give Flux the database's own URL",
        )

    async def get(self, job_id: str) -> Job:
        """See ``Door``."""
        return _job(await self._call("GET", _path(job_id)))

    async def cancel(self, job_id: str, reason: str | None) -> Job:
        """See ``Door``."""
        params = {} if reason is None else {"reason": reason}
        return _job(await self._call("DELETE", _path(job_id), params=params))

    async def retry(self, job_id: str) -> Job:
        """See ``Door``."""
        return _job(await self._call("POST", _path(job_id) + "/retry"))

    async def wait(self, job_id: str, timeout: float) -> Job:
        """See ``Door``; may return sooner, since one call waits 25 seconds at most."""
        seconds = min(timeout, LONGEST_WAIT)
        answer = await self._call(
            "GET", _path(job_id) + "/wait", params={"timeout": f"{seconds:.3f}s"}, patience=seconds
        )
        return _job(answer) if "type" in answer else await self.get(job_id)

    async def close(self) -> None:
        """See ``Door``."""
        await self._client.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> Any:
        import httpx

        try:
            response = await self._client.request(
                method,
                path,
                content=None if body is None else _encoder.encode(body),
                headers={} if body is None else {"Content-Type": "application/json"},
                params=params,
                timeout=TIMEOUT + patience,
            )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"the server {self._url} cannot be reached: {reason}") from error
        try:
            answer = msgspec.json.decode(response.content) if response.content else {}
        except msgspec.DecodeError:
            answer = None
        if response.status_code >= 300 or not isinstance(answer, dict):
            raise _error(response, answer if isinstance(answer, dict) else {}, self._url)
        return answer


class _Accepted(msgspec.Struct, frozen=True):
    id: str
    state: JobState


def _path(job_id: str) -> str:
    from urllib.parse import quote

    return f"/jobs/{quote(job_id, safe='')}"


def _body(request: JobRequest) -> dict[str, Any]:
    """The request without what is default."""
    return {
        name: value
        for name in request.__struct_fields__
        if (value := getattr(request, name)) != _DEFAULTS[name] or name in ("type", "payload")
    }


def _error(response: httpx.Response, problem: Mapping[str, Any], url: str) -> FluxError:
    status = response.status_code
    text = str(problem.get("detail") or problem.get("title") or f"{url} answered {status}")
    if status in (401, 403):
        return AccessDenied(text)
    if status == 404:
        return NotFound(text)
    if status == 409:
        return Conflict(text)
    if status == 429:
        return TooDeep(text, _retry_after(response))
    if status >= 500:
        return Unavailable(text)
    errors = problem.get("errors") or [{"field": "body", "message": text}]
    return Invalid([FieldError(str(one.get("field")), str(one.get("message"))) for one in errors])


def _retry_after(response: httpx.Response) -> int:
    try:
        return round(float(response.headers.get("Retry-After", "1")) * SECOND)
    except ValueError:
        return SECOND


def _job(answer: Mapping[str, Any]) -> Job:
    """A job as the API shows it, as the domain has it."""
    max_retries = int(answer.get("max_retries", 3))
    attempt = int(answer.get("attempt", 0))
    error = answer.get("error")
    attempts = answer.get("attempts")
    backoff, unique = answer.get("backoff"), answer.get("unique")
    return Job(
        id=answer["id"],
        type=answer["type"],
        queue=answer.get("queue", "default"),
        priority=answer.get("priority", 5),
        state=JobState(answer["state"]),
        attempt=attempt,
        attempt_limit=answer.get("max_attempts") or max(attempt, max_retries + 1),
        max_retries=max_retries,
        created_at=_time(answer.get("created_at")) or 0,
        run_at=_time(answer.get("run_at")) or 0,
        payload=_raw(answer, "payload"),
        timeout=None if answer.get("timeout") is None else parse_duration(answer["timeout"]),
        expires_at=_time(answer.get("expires_at")),
        started_at=_time(answer.get("started_at")),
        finished_at=_time(answer.get("finished_at")),
        worker_id=answer.get("worker_id"),
        result=_raw(answer, "result"),
        error=None if error is None else _job_error(error),
        progress=_raw(answer, "progress"),
        checkpoint=_raw(answer, "checkpoint"),
        schedule_id=answer.get("schedule_id"),
        workflow_id=answer.get("workflow_id"),
        cancel_requested=bool(answer.get("cancel_requested")),
        options=Options(
            tags=tuple(answer.get("tags") or ()),
            headers=answer.get("headers") or {},
            backoff=None if backoff is None else msgspec.Raw(_encoder.encode(backoff)),
            idempotency_key=answer.get("idempotency_key"),
            unique=None if unique is None else msgspec.Raw(_encoder.encode(unique)),
            copied_from=answer.get("copied_from"),
            step=answer.get("step"),
        ),
        attempts=None if attempts is None else [_attempt(one) for one in attempts],
    )


def _attempt(answer: Mapping[str, Any]) -> Attempt:
    error = answer.get("error")
    return Attempt(
        number=answer["number"],
        worker_id=answer.get("worker_id"),
        started_at=_time(answer.get("started_at")),
        finished_at=_time(answer.get("finished_at")),
        outcome=answer.get("outcome"),
        error=None if error is None else _job_error(error),
    )


def _job_error(answer: Mapping[str, Any]) -> JobError:
    return JobError(str(answer.get("kind")), str(answer.get("message")), answer.get("traceback"))


def _time(value: str | None) -> int | None:
    return None if value is None else parse_instant(value)


def _raw(answer: Mapping[str, Any], name: str) -> bytes | None:
    value = answer.get(name)
    return None if value is None else _encoder.encode(value)
