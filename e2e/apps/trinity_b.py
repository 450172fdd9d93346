"""Agent B: puts work into a queue in Redis, with the context of the request in the message."""

import json
import logging

from fastapi import FastAPI

import common

log = logging.getLogger("agent-b")
app = FastAPI()
redis = common.redis()


@app.get("/health")
async def health():
    return {"status": "ok"}


@app.post("/work")
async def work(order: dict):
    log.info("task %s: into the queue", order["task"])
    await redis.rpush("work", json.dumps(common.carry({"task": order["task"]})))
    return {}


if __name__ == "__main__":
    common.serve(app)
