#!/usr/bin/env python3
"""A minimal consumer of auditflow's events, to start your own from.

    poll -> check the schema version -> skip duplicates -> process -> store the offset -> commit periodically

Needs Python 3.9 or newer and `pip install confluent-kafka`:

    python3 examples/kafka_consumer.py --bootstrap-servers kafka:9092 --topic audit --group my-team
"""

import argparse
import json
import os
import signal
import sys
import time
from collections import OrderedDict

from confluent_kafka import Consumer, KafkaError, KafkaException

# The schema that this consumer understands: any 1.x. Minor versions only add fields, which are ignored; a major version
# may change the meaning of fields.
SCHEMA_MAJOR = "1"

# How many recent events to remember for deduplication (about 20 MB). Must exceed auditflow's `batch.max_events`, since a
# whole batch may be sent again.
REMEMBERED_EVENTS = 100_000

# How often offsets are committed. After a crash, events processed since the last commit are read again.
COMMIT_INTERVAL_SECONDS = 1.0


class Rejected(Exception):
    """A record that this consumer cannot process and must not skip."""


class Seen:
    """The recently processed events, by id and version.

    Needed with `delivery: at_least_once`, which sends a failed batch again, and with either guarantee after this consumer
    crashed or lost a partition between processing and commit. It catches only recent duplicates and is lost when the
    process ends. To catch all, use a unique key in your target:

        INSERT INTO events (id, version, ...) VALUES (...) ON CONFLICT (id, version) DO NOTHING

    With `exactly_once` and such a target (or idempotent writes) this set is not needed.
    """

    def __init__(self, capacity):
        self._capacity = capacity
        self._keys = OrderedDict()

    def is_new(self, event):
        """Whether the event is new. Adds it."""
        # `version` exists only where a vendor changes records later: the same id is delivered with a higher version.
        key = (event["id"], event.get("version", 0))
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._capacity:
            self._keys.popitem(last=False)
        return True


def check_schema_version(message):
    """Checks the version in the header, before the value is parsed."""
    version = header(message, "schema_version")
    if version is None:
        raise Rejected("the record has no header schema_version: auditflow did not write it")
    if version.split(".")[0] != SCHEMA_MAJOR:
        raise Rejected(
            f"schema version {version}: this consumer understands {SCHEMA_MAJOR}.x; update it"
        )


def process(message, event):
    """Your own work goes here. This prints one line per event, with columns separated by tabs."""
    actor = event["actor"]
    target = event["target"] or {}
    columns = (
        event["id"],
        str(event.get("version", 0)),
        event["timestamp"],
        header(message, "vendor") or "",
        event["action"],
        json.dumps(actor["name"] or actor["email"] or actor["id"]),
        json.dumps(target.get("name") or target.get("id")),
    )
    print("\t".join(columns), flush=True)


def handle(message, seen):
    """Checks, deduplicates and processes one record."""
    check_schema_version(message)
    event = json.loads(message.value())
    if seen.is_new(event):
        process(message, event)


def consume(consumer, stop):
    """Reads until Ctrl-C or SIGTERM. On an error it stops before it stores the offset, so that nothing is skipped."""
    seen = Seen(REMEMBERED_EVENTS)
    committed_at = time.monotonic()
    while not stop.requested:
        message = consumer.poll(0.2)
        if message is not None and message.error():
            # For example, brokers are unavailable: the client retries.
            print(message.error(), file=sys.stderr)
        elif message is not None:
            try:
                handle(message, seen)
            except (Rejected, ValueError, KeyError) as error:
                raise Rejected(f"{location(message)}: {error}") from error
            consumer.store_offsets(message=message)
        if time.monotonic() - committed_at >= COMMIT_INTERVAL_SECONDS:
            commit(consumer, asynchronous=True)
            committed_at = time.monotonic()


def commit(consumer, asynchronous):
    """Commits the stored offsets."""
    try:
        consumer.commit(asynchronous=asynchronous)
    except KafkaException as error:
        # _NO_OFFSET: nothing new to commit.
        if error.args[0].code() != KafkaError._NO_OFFSET:
            raise


def commit_before_handover(consumer, _partitions):
    """Commits before a rebalance, so that the next owner does not read processed events again."""
    commit(consumer, asynchronous=False)


def header(message, name):
    """The value of a header as a string, or None."""
    for key, value in message.headers() or []:
        if key == name and value is not None:
            return value.decode()
    return None


def location(message):
    """Topic, partition, offset and key of a record, for errors."""
    key = (message.key() or b"").decode(errors="replace")
    return f"topic {message.topic()}, partition {message.partition()}, offset {message.offset()}, key {key}"


class Stop:
    """Set by Ctrl-C or SIGTERM."""

    def __init__(self):
        self.requested = False
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _number, _frame):
        self.requested = True


def arguments():
    """Parses the command line; the environment gives defaults."""
    parser = argparse.ArgumentParser(description="Prints auditflow's events, one line per event.")

    def option(name, variable, text, **more):
        default = os.environ.get(variable)
        parser.add_argument(name, default=default, required=default is None, help=f"{text} [${variable}]", **more)

    option("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS", "bootstrap brokers: host:port, comma-separated")
    option("--topic", "KAFKA_TOPICS", r"topics, comma-separated; `^audit\..*` reads all that match")
    option("--group", "KAFKA_GROUP", "the consumer group; its members share the partitions")
    return parser.parse_args()


def main():
    options = arguments()
    stop = Stop()
    consumer = Consumer(
        {
            "bootstrap.servers": options.bootstrap_servers,
            "group.id": options.group,
            # Hides records of aborted transactions. `delivery: exactly_once` needs this.
            "isolation.level": "read_committed",
            # A new group starts at the oldest record.
            "auto.offset.reset": "earliest",
            # Offsets are stored only after their event is processed.
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
    )
    consumer.subscribe(options.topic.split(","), on_revoke=commit_before_handover)
    try:
        consume(consumer, stop)
    except Rejected as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        # Commit what was processed, whatever ended the loop.
        commit(consumer, asynchronous=False)
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
