"""aifactory-web: answers requests, and starts agents as subprocesses that go on with the trace."""

import telemetry  # isort: skip  (first, so that what follows is instrumented)

import asyncio
import json
import logging
import os
import sys

from fastapi import FastAPI

import common

log = logging.getLogger("aifactory-web")
app = FastAPI()


@app.get("/api/health")
async def health():
    return {"status": "ok"}


@app.get("/api/tasks")
async def tasks():
    log.info("tasks listed")
    return []


@app.post("/api/agent")
async def agent():
    """What the agent says of itself."""
    environment = dict(os.environ, TRACEPARENT=common.carry({}).get("traceparent", ""))
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "aifactory_agent.py")]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return {"code": process.returncode, **json.loads(output)}


if __name__ == "__main__":
    common.serve(app)
