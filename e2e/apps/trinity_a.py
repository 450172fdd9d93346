"""Agent A: takes tasks, hands them to agent B, and hears from agent C when they are done."""

import logging
import os
import uuid

import httpx
from fastapi import FastAPI

import common

B = os.environ.get("AGENT_B", "http://agent-b:8000")
log = logging.getLogger("agent-a")
app = FastAPI()
client = httpx.AsyncClient(timeout=10)
done = set()


@app.get("/health")
async def health():
    return {"status": "ok"}


@app.get("/heartbeat")
async def heartbeat():
    """Called very often, and of little interest."""
    return {"done": len(done)}


@app.post("/tasks")
async def start():
    task = uuid.uuid4().hex
    log.info("task %s: to agent B", task)
    (await client.post(f"{B}/work", json={"task": task})).raise_for_status()
    return {"task": task}


@app.post("/results/{task}")
async def finish(task: str):
    log.info("task %s: done", task)
    done.add(task)
    return {}


@app.get("/tasks/{task}")
async def look(task: str):
    return {"done": task in done}


if __name__ == "__main__":
    common.serve(app)
