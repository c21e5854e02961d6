"""Reads the Parquet objects of the s3 sink's tests with DuckDB, pyarrow, pandas and polars, and prints the results as JSON.

usage: readers.py ENDPOINT ACCESS_KEY_ID SECRET_ACCESS_KEY BUCKET DIRECTORY

DuckDB reads the bucket if its extension httpfs can be installed; else it reads DIRECTORY, a copy of the bucket.
"""

import json
import sys

import duckdb
import pandas
import polars
import pyarrow.compute as compute
import pyarrow.dataset as dataset
import pyarrow.parquet as parquet

endpoint, key, secret, bucket, directory = sys.argv[1:]
database = duckdb.connect()


def root_of_bucket():
    try:
        database.execute("INSTALL httpfs; LOAD httpfs")
    except duckdb.Error as reason:
        print(f"DuckDB reads a copy of the bucket: httpfs is not available: {reason}", file=sys.stderr)
        return directory
    host = endpoint.removeprefix("http://")
    database.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false)"
    )
    return f"s3://{bucket}"


def of_table(table):
    counts = table.group_by("event_vendor").aggregate([([], "count_all")])
    return list(zip(counts["event_vendor"].to_pylist(), counts["count_all"].to_pylist()))


def rows(query):
    return database.execute(query.replace("EVENTS", events)).fetchall()


root = root_of_bucket()
pattern = f"{root}/audit/event_vendor=*/event_date=*/*.parquet"
events = f"read_parquet('{pattern}', hive_partitioning = true)"

pyarrow_events = dataset.dataset(f"{directory}/audit", partitioning="hive", format="parquet")
middle = rows("SELECT epoch_us(quantile_disc(timestamp, 0.5)) FROM EVENTS WHERE vendor = 'clumio'")[0][0]
by_action = pyarrow_events.to_table(columns=["vendor", "action"]).group_by(["vendor", "action"]).aggregate([([], "count_all")])

print(
    json.dumps(
        {
            "from": "bucket" if root.startswith("s3://") else "copy",
            "counts": rows("SELECT vendor, action, count(*) FROM EVENTS GROUP BY ALL ORDER BY ALL"),
            "columns": rows("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM EVENTS)"),
            "wrong_dates": rows("SELECT count(*) FROM EVENTS WHERE event_date <> CAST(timestamp AT TIME ZONE 'UTC' AS DATE)")[0][0],
            "ordinary_calls": {
                "duckdb.read_parquet": rows("SELECT event_vendor, count(*) FROM EVENTS GROUP BY ALL"),
                "pyarrow.parquet.read_table": of_table(parquet.read_table(f"{directory}/audit")),
                "pandas.read_parquet": list(pandas.read_parquet(f"{directory}/audit").groupby("event_vendor", observed=True).size().items()),
                "polars.scan_parquet": polars.scan_parquet(f"{directory}/audit/**/*.parquet", hive_partitioning=True)
                .group_by("event_vendor").len().collect().rows(),
            },
            "null_emails": rows(f"SELECT count(*) FROM read_parquet('{root}/nulls/*/*.parquet') WHERE target.email IS NULL")[0][0],
            "null_partitions": {
                "duckdb": rows(f"SELECT count(*) FROM read_parquet('{root}/nulls/*/*.parquet', hive_partitioning = true) WHERE kind IS NULL")[0][0],
                "pyarrow": parquet.read_table(f"{directory}/nulls")["kind"].to_pylist().count(None),
                "polars": polars.scan_parquet(f"{directory}/nulls/**/*.parquet", hive_partitioning=True)
                .filter(polars.col("kind").is_null()).select(polars.len()).collect().item(),
            },
            "actors": rows("SELECT count(*) FROM EVENTS WHERE actor.id IS NOT NULL OR actor.type IS NOT NULL")[0][0],
            "changes": rows("SELECT count(*) FROM (SELECT unnest(changes) AS change FROM EVENTS) WHERE change.field <> ''")[0][0],
            "raws": rows("SELECT id, vendor, version, raw FROM EVENTS"),
            "unsorted": rows(
                "SELECT count(*) FROM (SELECT timestamp < lag(timestamp) OVER (PARTITION BY filename ORDER BY file_row_number) AS back"
                f" FROM read_parquet('{pattern}', filename = true, file_row_number = true)) WHERE back"
            )[0][0],
            "before_middle": rows(f"SELECT count(*) FROM EVENTS WHERE vendor = 'clumio' AND epoch_us(timestamp) < {middle}")[0][0],
            "objects_all": rows(f"SELECT count(DISTINCT file_name) FROM parquet_metadata('{pattern}')")[0][0],
            "objects_with_time_before_middle": rows(
                f"SELECT count(DISTINCT file_name) FROM parquet_metadata('{pattern}') WHERE path_in_schema = 'timestamp'"
                f" AND epoch_us(CAST(stats_min_value AS TIMESTAMPTZ)) < {middle}"
            )[0][0],
            "pyarrow_counts": sorted(zip(*[by_action.column(name).to_pylist() for name in ("vendor", "action", "count_all")])),
            "pyarrow_clumio": pyarrow_events.count_rows(filter=compute.field("vendor") == "clumio"),
            "pyarrow_actor_ids": pyarrow_events.count_rows(filter=compute.is_valid(compute.field("actor", "id"))),
        }
    )
)
