"""Reads or compacts the Delta table of the s3 sink's tests, and prints what it reads as JSON.

usage: table.py read|compact ENDPOINT ACCESS_KEY_ID SECRET_ACCESS_KEY BUCKET DIRECTORY

delta-rs and polars read the bucket, DuckDB too if its extensions can be installed.
"""

import json
import sys

import duckdb
import polars
import pyarrow.compute as compute
from deltalake import DeltaTable

what, endpoint, key, secret, bucket, directory = sys.argv[1:]
options = {
    "AWS_ENDPOINT_URL": endpoint,
    "AWS_ACCESS_KEY_ID": key,
    "AWS_SECRET_ACCESS_KEY": secret,
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
    "aws_conditional_put": "etag",
}
uri = f"s3://{bucket}/audit"

if what == "compact":
    if not DeltaTable.is_deltatable(uri, storage_options=options):
        sys.exit()
    table = DeltaTable(uri, storage_options=options)
    print(table.optimize.compact(), file=sys.stderr)
    table.create_checkpoint()
    sys.exit()


def by_duckdb():
    database = duckdb.connect()
    try:
        database.execute("INSTALL delta; LOAD delta; INSTALL httpfs; LOAD httpfs")
    except duckdb.Error as reason:
        print(f"DuckDB does not read the table: its extension delta is not available: {reason}", file=sys.stderr)
        return {}
    host = endpoint.removeprefix("http://")
    database.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')"
    )
    return {"duckdb": database.execute(f"SELECT count(*), count(DISTINCT id) FROM delta_scan('{uri}')").fetchone()}


table = DeltaTable(uri, storage_options=options)
rows = table.to_pyarrow_table()
frame = polars.scan_delta(uri, storage_options=options)
ids = rows["id"].to_pylist()
vendor, day = rows["event_vendor"][0].as_py(), rows["event_date"][0].as_py()
pruned = table.to_pyarrow_table(filters=[("event_vendor", "=", vendor), ("event_date", "=", day)])
is_of_day = compute.equal(compute.cast(compute.floor_temporal(rows["timestamp"], unit="day"), "date32"), day)
print(
    json.dumps(
        {
            "raws": list(zip(ids, *[rows[name].to_pylist() for name in ("vendor", "version", "raw")])),
            "readers": {
                "deltalake": (len(ids), len(set(ids))),
                "polars": frame.select(polars.len(), polars.col("id").n_unique().alias("ids")).collect().row(0),
                **by_duckdb(),
            },
            "pruned": (pruned.num_rows, rows.filter(compute.and_(is_of_day, compute.equal(rows["vendor"], vendor))).num_rows),
            "has_time_statistics": "min.timestamp" in DeltaTable(uri, storage_options=options).get_add_actions(flatten=True).schema.names,
        }
    )
)
