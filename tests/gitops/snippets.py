# Evaluates what docs/gitops.md tells people to put into Argo CD: Lua as Argo CD does (Lua 5.1, the object is the global
# `obj`, the answer a table), jq paths as `ignoreDifferences` does (what they match is removed).
# Reads one JSON object from standard input: {"lua", "objects"} or {"jq", "objects"}; writes a list.
import json
import sys

import jq
from lupa import lua51


def table(lua, value):
    if isinstance(value, dict):
        return lua.table_from({key: table(lua, item) for key, item in value.items() if item is not None})
    if isinstance(value, list):
        return lua.table_from([table(lua, item) for item in value])
    return value


def health(code, value):
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    lua.globals().obj = table(lua, value)
    answer = lua.execute(code)
    return {"status": answer.status, "message": answer.message}


job = json.load(sys.stdin)
if "lua" in job:
    answers = [health(job["lua"], value) for value in job["objects"]]
else:
    answers = [jq.compile(f"del({job['jq']})").input_value(value).first() for value in job["objects"]]
json.dump(answers, sys.stdout)
