#!/usr/bin/env python3
"""A consumer of auditflow's events to begin your own from: what a reader of the topic must do, and no more.

    poll -> schema version known? -> seen already? -> process -> remember the offset -> commit, now and then

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

# The schema that this consumer was written for: any 1.x. A minor step only adds fields, so they are ignored; a major
# step may change what fields mean, so nothing is guessed.
SCHEMA_MAJOR = "1"

# How many of the latest events are remembered, to know repeats by: some 20 MB. More than a batch of auditflow's
# (`batch.max_events`), since a batch is what may be sent again.
REMEMBERED_EVENTS = 100_000

# How often offsets are committed. After a crash, what was processed since then is read once more.
COMMIT_INTERVAL_SECONDS = 1.0


class Refused(Exception):
    """A record that this consumer must not pass over."""


class Seen:
    """Which events were processed lately, by id and version.

    Needed with `delivery: at_least_once`, where a batch that failed half-way is sent again; and with either guarantee
    after this consumer has crashed or lost a partition between processing and commit. A memory like this one catches
    repeats that come soon, and forgets them all when the process ends. Where every repeat must be caught, let the place
    that you write to do it instead, by a unique key:

        INSERT INTO events (id, version, ...) VALUES (...) ON CONFLICT (id, version) DO NOTHING

    With `exactly_once` and such a place (or one where writing twice does no harm) this memory is not needed.
    """

    def __init__(self, most):
        self._most = most
        self._known = OrderedDict()

    def is_new(self, event):
        """Whether the event was not seen yet; remembers it."""
        # `version` is there only where a vendor changes a record after the fact: the same id comes again with a higher one.
        key = (event["id"], event.get("version", 0))
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return True


def check_schema_version(message):
    """The version stands in a header, so it is known before the value is read."""
    version = header(message, "schema_version")
    if version is None:
        raise Refused("the record has no header schema_version: it is not auditflow's")
    if version.split(".")[0] != SCHEMA_MAJOR:
        raise Refused(
            f"schema version {version}: this consumer understands {SCHEMA_MAJOR}.x; update it before it goes on"
        )


def process(message, event):
    """This is where your own work goes. Here: a line an event, its columns separated by tabs."""
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
    """One record, from the check of its version to the end of its processing."""
    check_schema_version(message)
    event = json.loads(message.value())
    if seen.is_new(event):
        process(message, event)


def consume(consumer, stop):
    """Reads until Ctrl-C or SIGTERM. An error stops it before the record's offset counts, so that nothing is skipped."""
    seen = Seen(REMEMBERED_EVENTS)
    committed_at = time.monotonic()
    while not stop.wanted:
        message = consumer.poll(0.2)
        if message is not None and message.error():
            # Brokers that are away, and the like: the client goes on by itself.
            print(message.error(), file=sys.stderr)
        elif message is not None:
            try:
                handle(message, seen)
            except (Refused, ValueError, KeyError) as error:
                raise Refused(f"{place(message)}: {error}") from error
            consumer.store_offsets(message=message)
        if time.monotonic() - committed_at >= COMMIT_INTERVAL_SECONDS:
            commit(consumer, asynchronous=True)
            committed_at = time.monotonic()


def commit(consumer, asynchronous):
    """Commits what was processed."""
    try:
        consumer.commit(asynchronous=asynchronous)
    except KafkaException as error:
        # _NO_OFFSET: nothing new to commit.
        if error.args[0].code() != KafkaError._NO_OFFSET:
            raise


def commit_before_handover(consumer, _partitions):
    """So that the next owner of the partitions does not read again what we have processed."""
    commit(consumer, asynchronous=False)


def header(message, name):
    """The text of a header, or None."""
    for key, value in message.headers() or []:
        if key == name and value is not None:
            return value.decode()
    return None


def place(message):
    """Where a record stands."""
    key = (message.key() or b"").decode(errors="replace")
    return f"topic {message.topic()}, partition {message.partition()}, offset {message.offset()}, key {key}"


class Stop:
    """Set by Ctrl-C or SIGTERM."""

    def __init__(self):
        self.wanted = False
        signal.signal(signal.SIGINT, self._want)
        signal.signal(signal.SIGTERM, self._want)

    def _want(self, _number, _frame):
        self.wanted = True


def arguments():
    """What is given on the command line or in the environment."""
    parser = argparse.ArgumentParser(description="Prints auditflow's events, one line an event.")

    def option(name, variable, text, **more):
        given = os.environ.get(variable)
        parser.add_argument(name, default=given, required=given is None, help=f"{text} [${variable}]", **more)

    option("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS", "brokers to begin with: host:port, commas between")
    option("--topic", "KAFKA_TOPICS", r"topics to read, commas between; `^audit\..*` reads all that match")
    option("--group", "KAFKA_GROUP", "the consumer group; its members share the partitions")
    return parser.parse_args()


def main():
    given = arguments()
    stop = Stop()
    consumer = Consumer(
        {
            "bootstrap.servers": given.bootstrap_servers,
            "group.id": given.group,
            # Records of transactions that were given up are not shown. Without this line `delivery: exactly_once` is
            # lost on the last metre.
            "isolation.level": "read_committed",
            # A new group begins with the oldest record.
            "auto.offset.reset": "earliest",
            # An offset counts only once its event is processed, so both are done by hand.
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
    )
    consumer.subscribe(given.topic.split(","), on_revoke=commit_before_handover)
    try:
        consume(consumer, stop)
    except Refused as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        # What was processed is committed, whatever ended the loop.
        commit(consumer, asynchronous=False)
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
