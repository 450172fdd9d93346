"""caretaker-dashboard: what a platform's rules tell apart: answers that work, that fail, that are slow, that matter."""

import telemetry  # isort: skip  (first, so that what follows is instrumented)

import asyncio
import logging
import os

import httpx
from fastapi import FastAPI, HTTPException, Response

import common

SELF = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
log = logging.getLogger("caretaker-dashboard")
client = httpx.AsyncClient(timeout=10)
app = FastAPI()


@app.get("/health")
async def health():
    return {"status": "ok"}


@app.get("/runs")
async def runs():
    return []


@app.get("/broken")
async def broken():
    """A server's error, by its status alone."""
    raise HTTPException(503, "not today")


@app.get("/fault")
async def fault():
    """A span with an error in an answer that is fine."""
    with telemetry.tracer.start_as_current_span("repaired") as span:
        span.record_exception(ValueError("mended at once"))
        span.set_status(telemetry.trace.StatusCode.ERROR)
    return {}


@app.get("/slow")
async def slow():
    await asyncio.sleep(1.1)
    return {}


@app.get("/audit")
async def audit():
    """Always of interest."""
    log.info("audited")
    return {}


@app.get("/login")
async def login(response: Response):
    """Credentials in both directions, and a call with a very long address."""
    response.set_cookie("session", "secret-of-the-answer")
    secret = {"authorization": "Bearer secret-of-the-call", "cookie": "session=secret-of-the-call"}
    (await client.get(f"{SELF}/audit", params={"q": "long" * 1000}, headers=secret)).raise_for_status()
    return {}


if __name__ == "__main__":
    common.serve(app)
