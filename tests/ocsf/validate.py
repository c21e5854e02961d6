"""Validates OCSF events, one per line of standard input, with pydantic-ocsf. Prints what is wrong, and per class how many are valid."""

import collections
import json
import sys

from ocsf.v1_7_0 import events
from pydantic import BaseModel

CLASSES = {
    3001: events.AccountChange,
    3002: events.Authentication,
    3005: events.UserAccess,
    3006: events.GroupManagement,
    6003: events.ApiActivity,
}


def unknown_attributes(value, path):
    """The models accept attributes that the schema does not have; `unmapped` is free."""
    if isinstance(value, list):
        return [found for item in value for found in unknown_attributes(item, path)]
    if not isinstance(value, BaseModel):
        return []
    unknown = [f"{path}{name}" for name in value.model_extra or {}]
    for name in type(value).model_fields:
        if name != "unmapped":
            unknown += unknown_attributes(getattr(value, name), f"{path}{name}.")
    return unknown


valid = collections.Counter()
problems = 0
for line in sys.stdin:
    event = json.loads(line)
    try:
        unknown = unknown_attributes(CLASSES[event["class_uid"]].model_validate(event), "")
    except ValueError as reason:
        unknown = [str(reason)]
    if unknown:
        problems += 1
        print(f"{unknown}: {line}", file=sys.stderr)
    else:
        valid[str(event["class_uid"])] += 1
print(json.dumps(valid))
sys.exit(problems > 0)
