"""Orders over HTTP, their receipts as jobs, the dashboard at /flux.

.venv/bin/pip install fastapi && .venv/bin/uvicorn --app-dir examples fastapi_app:app
curl -s localhost:8000/orders -H 'Content-Type: application/json' -d '{"email": "a@b.c", "total": 12.5}'
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from flux import Context, Flux, NotFound
from flux.integrations.fastapi import lifespan, mount

flux = Flux("sqlite:///orders.db")
app = FastAPI(lifespan=lifespan(flux, concurrency=10))
# Anyone who reaches it may act on jobs: in earnest, put what guards your other admin pages before this path.
mount(app, flux, "/flux")


class Order(BaseModel):
    """What a customer sends."""

    email: str
    total: float


@flux.job(queue="receipts", max_retries=5, timeout="30s")
async def send_receipt(ctx: Context, order: Order) -> dict[str, str]:
    """Stands for a mail server that takes its time and at times fails."""
    ctx.logger.info("a receipt of %.2f for %s", order.total, order.email)
    return {"sent": order.email}


@app.post("/orders", status_code=202)
async def place(order: Order) -> dict[str, str]:
    """Answer when the job is on the disk; its handler runs later."""
    job = await send_receipt.enqueue(order=order)
    return {"job": job.id}


@app.get("/orders/{job_id}")
async def receipt(job_id: str) -> dict[str, Any]:
    """How far the receipt is, waiting a little for its end."""
    try:
        job = await flux.wait(job_id, timeout=10)
    except NotFound:
        raise HTTPException(404, "there is no such order") from None
    return {"state": job.state, "attempt": job.attempt}
