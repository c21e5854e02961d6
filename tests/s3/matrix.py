"""Reads the same events in every format with every reader, and prints what each can do as a Markdown table.

usage: matrix.py DIRECTORY, a copy of the bucket

Rows, ids, times and nested values must be those of the NDJSON lines as Python's own library reads them: any other result fails.
A query for one vendor and day (OCSF: one day) is pruned if it succeeds while all other objects but the first cannot be read:
readers take the columns from that one.
"""

import collections
import datetime
import gzip
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

import chdb
import deltalake
import duckdb
import pandas
import polars
import pyarrow
import pyarrow.compute as compute
import pyarrow.dataset as dataset

directory = pathlib.Path(sys.argv[1])
os.chdir("/")  # ClickHouse reads tables of the present directory only
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
EMAIL = re.compile(r"[!-?A-~]+@[0-9A-Za-z-]+\.[0-9A-Za-z.-]+", re.ASCII)
database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")

Format = collections.namedtuple("Format", "root glob id time email items")
HIVE = "event_vendor=*/event_date=*/*"
NATIVE = ("id", "timestamp", "actor.email", "changes")
FORMATS = {
    "NDJSON": Format("ndjson", f"{HIVE}.ndjson.gz", *NATIVE),
    "Parquet": Format("parquet", f"{HIVE}.parquet", *NATIVE),
    "Parquet, OCSF": Format(
        "ext/acme_api", "region=*/accountId=*/eventDay=*/*.parquet", "metadata.uid", "time", "actor.user.email_addr", "resources"
    ),
    "Delta": Format("delta", f"{HIVE}.parquet", *NATIVE),
}


def lines():
    for file in (directory / "ndjson").glob(f"{HIVE}.ndjson.gz"):
        with gzip.open(file, "rt") as text:
            yield from map(json.loads, text)


def micros(text):
    return (datetime.datetime.fromisoformat(text) - EPOCH) // datetime.timedelta(microseconds=1)


def is_identified(thing):
    return bool(thing and any(thing[name] for name in ("id", "name", "email")))


events = {event["id"]: event for event in lines()}
by_partition = collections.Counter((event["timestamp"][:10]) for event in events.values() if event["vendor"] == "clumio")
day = by_partition.most_common(1)[0][0]
ids_of_class = {
    id
    for file in (directory / "ext/acme_api").rglob("*.parquet")
    for id in dataset.dataset(file).to_table().column("metadata").combine_chunks().field("uid").to_pylist()
}


def expected(name, is_filtered):
    """Rows, ids, the sum of all times, rows with an e-mail address, items of a list."""
    if name == "Parquet, OCSF":
        rows = [event for id, event in events.items() if id in ids_of_class and (not is_filtered or event["timestamp"][:10] == day)]
        emails = sum(bool(event["actor"]["email"] and EMAIL.fullmatch(event["actor"]["email"])) for event in rows)
        items = sum(sum(map(is_identified, [event["target"], *event["related"]])) for event in rows)
        return len(rows), len(rows), sum(micros(event["timestamp"]) // 1000 for event in rows), emails, items
    rows = [event for event in events.values() if not is_filtered or (event["vendor"], event["timestamp"][:10]) == ("clumio", day)]
    emails = sum(event["actor"]["email"] is not None for event in rows)
    return len(rows), len(rows), sum(micros(event["timestamp"]) for event in rows), emails, sum(len(event["changes"]) for event in rows)


def damaged(format, partition):
    """A copy in which only the first object and the partition can be read."""
    copy = pathlib.Path(tempfile.mkdtemp(dir=directory.parent)) / "copy"
    shutil.copytree(directory / format.root, copy / format.root)
    for file in sorted((copy / format.root).glob(format.glob))[1:]:
        if partition not in str(file):
            file.write_bytes(b"damaged")
    return copy


# --- readers: each returns what `expected` does, and remarks ---


def of_arrow(table, format):
    def column(path):
        first, *rest = path.split(".")
        values = table.column(first).combine_chunks()
        return compute.struct_field(values, rest) if rest else values

    times, remarks = column(format.time), []
    if pyarrow.types.is_timestamp(times.type):
        times = compute.cast(compute.cast(times, pyarrow.timestamp("us", times.type.tz)), "int64")
    elif not pyarrow.types.is_integer(times.type):
        times, remarks = pyarrow.array(map(micros, times.to_pylist())), ["times are strings"]
    ids, items = column(format.id), column(format.items)
    found = (
        len(table),
        len(set(ids.to_pylist())),
        compute.sum(times).as_py(),
        len(table) - column(format.email).null_count,
        compute.sum(compute.list_value_length(items)).as_py() or 0,
    )
    return found, remarks


def by_duckdb(name, format, root, is_filtered):
    if name == "Delta":
        return None  # table.py does, where the extension can be installed
    read = "read_json" if name == "NDJSON" else "read_parquet"
    table = f"{read}('{root / format.root}/{format.glob}', hive_partitioning = true)"
    time = f"sum(epoch_us({format.time}))" if name != "Parquet, OCSF" else "sum(time)"
    where = sql_filter(name) if is_filtered else "true"
    return database.execute(
        f"SELECT count(*), count(DISTINCT {format.id}), {time}, count({format.email}), coalesce(sum(len({format.items})), 0)"
        f" FROM {table} WHERE {where}"
    ).fetchone(), []


def sql_filter(name):
    return f"eventDay = {day.replace('-', '')}" if name == "Parquet, OCSF" else f"event_vendor = 'clumio' AND event_date = '{day}'"


def by_clickhouse(name, format, root, is_filtered):
    if name == "Delta":
        table = f"deltaLakeLocal('{root / format.root}/')"
    else:
        of = "JSONEachRow" if name == "NDJSON" else "Parquet"
        # It takes the columns from any object, so they are given.
        described = chdb.query(f"DESCRIBE file('{directory / format.root}/{format.glob}', '{of}') SETTINGS use_hive_partitioning = 0", "JSONCompactEachRow")
        columns = ", ".join(f"`{column}` {kind}" for column, kind, *_ in map(json.loads, str(described).splitlines()))
        table = f"file('{root / format.root}/{format.glob}', '{of}', $$ {columns} $$)"
    time = "sum(time)" if name == "Parquet, OCSF" else "sum(toUnixTimestamp64Micro(toDateTime64(timestamp, 6, 'UTC')))"
    first, *rest = format.email.split(".")
    email = first
    for field in rest:
        email = f"tupleElement({email}, '{field}')"
    where = sql_filter(name) if is_filtered else "true"
    query = (
        f"SELECT count(), count(DISTINCT {format.id}), {time}, countIf(notEmpty(coalesce({email}, ''))), sum(length({format.items})) FROM {table} WHERE {where}"
        " SETTINGS use_hive_partitioning = 1, optimize_functions_to_subcolumns = 0"
    )
    return tuple(json.loads(str(chdb.query(query, "JSONCompactEachRow")).replace('"', ""))), []


def arrow_filter(name):
    if name == "Parquet, OCSF":
        return [("eventDay", "=", int(day.replace("-", "")))]
    return [("event_vendor", "=", "clumio"), ("event_date", "=", day)]


def by_pyarrow(name, format, root, is_filtered):
    if name == "Delta":
        return None
    read = dataset.dataset(root / format.root, format="json" if name == "NDJSON" else "parquet", partitioning="hive")
    filters = [compute.field(key) == value for key, _, value in arrow_filter(name)] if is_filtered else []
    filter = filters[0] if len(filters) == 1 else filters[0] & filters[1] if filters else None
    return of_arrow(read.to_table(filter=filter), format)


def by_pandas(name, format, root, is_filtered):
    if name == "Delta":
        return None
    if name == "NDJSON":
        frames = [pandas.read_json(file, lines=True) for file in sorted((root / format.root).glob(format.glob))]
        frame = pandas.concat(frames)
        if is_filtered:
            frame = frame[(frame["vendor"] == "clumio") & (frame["timestamp"].dt.strftime("%Y-%m-%d") == day)]
    else:
        frame = pandas.read_parquet(root / format.root, filters=arrow_filter(name) if is_filtered else None)
    columns = list(dict.fromkeys(path.split(".")[0] for path in (format.id, format.time, format.email, format.items)))
    return of_arrow(pyarrow.Table.from_pandas(frame[columns], preserve_index=False), format)


def by_polars(name, format, root, is_filtered):
    if name == "Delta":
        frame = polars.scan_delta(str(root / format.root))
    elif name == "NDJSON":
        frame = polars.scan_ndjson(f"{root / format.root}/{format.glob}", infer_schema_length=None)
    else:
        frame = polars.scan_parquet(f"{root / format.root}/{format.glob}", hive_partitioning=True)
    if is_filtered and name == "NDJSON":
        frame = frame.filter((polars.col("vendor") == "clumio") & polars.col("timestamp").str.starts_with(day))
    elif is_filtered and name == "Parquet, OCSF":
        frame = frame.filter(polars.col("eventDay") == int(day.replace("-", "")))
    elif is_filtered:
        frame = frame.filter((polars.col("event_vendor") == "clumio") & (polars.col("event_date") == datetime.date.fromisoformat(day)))
    return of_arrow(frame.collect().to_arrow(), format)


def by_delta_rs(name, format, root, is_filtered):
    if name != "Delta":
        return None
    filters = [("event_vendor", "=", "clumio"), ("event_date", "=", datetime.date.fromisoformat(day))] if is_filtered else None
    return of_arrow(deltalake.DeltaTable(root / format.root).to_pyarrow_table(filters=filters), format)


READERS = {
    "DuckDB": by_duckdb,
    "pyarrow": by_pyarrow,
    "pandas": by_pandas,
    "polars": by_polars,
    "delta-rs": by_delta_rs,
    "ClickHouse": by_clickhouse,
}


def cell(read, name, format):
    try:
        result = read(name, format, directory, False)
    except Exception as reason:
        print(f"{read.__name__} {name}: {type(reason).__name__}: {reason}"[:600], file=sys.stderr)
        return "no"
    if result is None:
        return "-"
    found, remarks = result
    assert tuple(found) == expected(name, False), (read.__name__, name, found, expected(name, False))
    partition = f"/eventDay={day.replace('-', '')}/" if name == "Parquet, OCSF" else f"/event_vendor=clumio/event_date={day}/"
    try:
        pruned = read(name, format, damaged(format, partition), True)[0]
    except Exception as reason:
        print(f"{read.__name__} {name} reads other objects: {str(reason)[:300]}", file=sys.stderr)
        pruned, remarks = read(name, format, directory, True)[0], remarks + ["reads all objects"]
    assert tuple(pruned) == expected(name, True), (read.__name__, name, pruned, expected(name, True))
    return ", ".join(["yes", *remarks])


assert ids_of_class < set(events) and len(by_partition) > 1
print(f"| Reader | {' | '.join(FORMATS)} |")
print(f"|---|{'---|' * len(FORMATS)}")
for reader, read in READERS.items():
    print(f"| {reader} | {' | '.join(cell(read, name, format) for name, format in FORMATS.items())} |")
