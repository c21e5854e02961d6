"""Runs statements and queries with DuckDB in the working directory.

Reads `{"statements": [SQL], "queries": {NAME: [SQL, ...]}}` from standard input. Of each query, the last statement's rows are
printed, as JSON: NAME to a list of objects. Their `timestamp` is in microseconds since 1970.
"""

import json
import sys

import duckdb

asked = json.load(sys.stdin)
database = duckdb.connect()
for statement in asked["statements"]:
    database.execute(statement)


def rows(query):
    database.execute(f"CREATE OR REPLACE TEMP TABLE answer AS {query}")
    columns = [row[0] for row in database.execute("DESCRIBE answer").fetchall()]
    time = 'REPLACE (epoch_us("timestamp") AS "timestamp")' if "timestamp" in columns else ""
    result = database.execute(f"SELECT * {time} FROM answer")
    return [dict(zip(columns, row)) for row in result.fetchall()]


answers = {}
for name, [*before, query] in asked["queries"].items():
    for statement in before:
        database.execute(statement)
    answers[name] = rows(query)
json.dump(answers, sys.stdout)
