"""Examples for the documentation, one of each kind, so that all pages show the same story."""

from __future__ import annotations

from typing import Any

ID = "01936a3e-7b1c-7c3e-9a5e-2f4b6d8e0a1c"
WORKER = "01936a3e-0000-7abc-8def-0123456789ab"
AT = "2026-11-24T19:33:54.123456Z"

JOB_IN: dict[str, Any] = {
    "type": "email",
    "payload": {"to": "user@example.com", "subject": "Welcome"},
    "queue": "email",
    "priority": 5,
    "delay": "30s",
    "timeout": "5m",
    "max_retries": 3,
    "idempotency_key": "welcome-4711",
    "tags": ["welcome"],
}

JOB_IN_LIST: dict[str, Any] = {
    "id": ID,
    "type": "email",
    "queue": "email",
    "state": "scheduled",
    "priority": 5,
    "attempt": 0,
    "max_retries": 3,
    "created_at": AT,
    "run_at": "2026-11-24T19:34:24.123456Z",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "timeout": "5m",
    "worker_id": None,
    "error": None,
    "progress": None,
    "checkpoint": None,
    "heartbeat_at": None,
    "cancel_requested": False,
    "waiting_for": {"kind": "time", "text": "It is due at 2026-11-24T19:34:24Z."},
    "backoff": {"kind": "exponential", "base": "1s", "factor": 2.0, "max": "1h", "jitter": 0.2},
    "idempotency_key": "welcome-4711",
    "unique": None,
    "tags": ["welcome"],
    "headers": {},
    "schedule_id": None,
    "schedule": None,
    "cron": None,
    "timezone": None,
    "workflow_id": None,
    "step": None,
    "copied_from": None,
}

JOB: dict[str, Any] = {
    **JOB_IN_LIST,
    "payload": {"to": "user@example.com", "subject": "Welcome"},
    "result": None,
    "attempts": [],
}

JOB_DONE: dict[str, Any] = {
    **JOB,
    "state": "succeeded",
    "attempt": 1,
    "started_at": "2026-11-24T19:34:24.125000Z",
    "finished_at": "2026-11-24T19:34:24.391000Z",
    "worker_id": WORKER,
    "waiting_for": None,
    "result": {"message_id": "<4711@example.com>"},
    "attempts": [
        {
            "number": 1,
            "worker_id": WORKER,
            "started_at": "2026-11-24T19:34:24.125000Z",
            "finished_at": "2026-11-24T19:34:24.391000Z",
            "outcome": "succeeded",
            "error": None,
        }
    ],
}

CANCELLED: dict[str, Any] = {
    **JOB,
    "state": "cancelled",
    "finished_at": AT,
    "waiting_for": None,
    "error": {"kind": "cancelled", "message": "ordered twice", "traceback": None},
}

QUEUE: dict[str, Any] = {
    "name": "email",
    "paused": False,
    "paused_at": None,
    "paused_by": None,
    "max_depth": 100000,
    "depth": {"available": 12, "scheduled": 3, "running": 5},
    "oldest_wait": "1.2s",
    "sampled_at": AT,
}

WORKER_VIEW: dict[str, Any] = {
    "id": WORKER,
    "host": "build-7",
    "pid": 4711,
    "version": "0.1.0",
    "queues": "*",
    "types": ["email", "report"],
    "slots": 10,
    "busy": 1,
    "state": "active",
    "started_at": AT,
    "seen_at": AT,
    "lease_until": AT,
    "running": [{"id": ID, "type": "email", "queue": "email", "attempt": 1, "started_at": AT}],
}

SCHEDULE_IN: dict[str, Any] = {
    "name": "nightly-report",
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "type": "report",
    "payload": {"scope": "all"},
    "overlap": "skip",
}

EVENT = (
    'id: 812.0\nevent: job\ndata: {"id":"812.0","at":"' + AT + '","subject":"job","key":"' + ID + '",'
    '"state":"succeeded","type":"email","queue":"email","job_id":"' + ID + '"}\n\n'
)
