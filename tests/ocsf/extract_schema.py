"""Writes schema.json, what the strict check knows of OCSF: the classes and objects that auditflow writes, of each version.

    pip download --no-deps ocsf-json-schema==1.2.0 && unzip ocsf_json_schema-1.2.0-py3-none-any.whl -d unpacked
    python3 extract_schema.py unpacked/ocsf_json_schema/ocsf

The package has the schema as the OCSF project's server exports it, compiled: https://schema.ocsf.io/1.8.0/export/v2/schema.
"""

import json
import pathlib
import sys

SOURCE = "OCSF (Apache-2.0) as https://schema.ocsf.io exports it, from the PyPI package ocsf-json-schema 1.2.0, by extract_schema.py"
VERSIONS = ["1.3.0", "1.7.0", "1.8.0"]
CLASSES = ["account_change", "authentication", "user_access", "group_management", "api_activity"]
OBJECTS = [
    "actor", "api", "fingerprint", "group", "metadata", "network_endpoint", "observable", "product", "resource_details",
    "service", "user",
]


def attribute(given):
    """Only what can be checked. A deprecated attribute counts as unknown."""
    found = {"type": given["object_type"] if given["type"] == "object_t" else given["type"]}
    if given["type"] == "object_t":
        found["object"] = True
    if given.get("is_array"):
        found["array"] = True
    if given["requirement"] == "required":
        found["required"] = True
    profiles = given.get("profiles") or [given["profile"]] if given.get("profile") or given.get("profiles") else []
    if profiles:
        found["profiles"] = profiles
    if "enum" in given:
        found["enum"] = {number: value["caption"] for number, value in sorted(given["enum"].items(), key=lambda item: str(item[0]))}
    for key in ("sibling", "observable"):
        if key in given:
            found[key] = given[key]
    return found


def definition(given):
    attributes = sorted(given["attributes"].items())
    found = {"attributes": {name: attribute(value) for name, value in attributes if "@deprecated" not in value}}
    if given.get("constraints"):
        found["constraints"] = given["constraints"]
    return found


def scalar(given):
    keys = ("type", "regex", "max_len", "range", "observable")
    return {key: given[key] for key in keys if key in given}


def extract(schema):
    types = schema["types"] if "types" in schema else schema["dictionary"]["types"]["attributes"]
    return {
        "types": {name: scalar(value) for name, value in sorted(types.items())},
        "classes": {str(schema["classes"][name]["uid"]): definition(schema["classes"][name]) for name in CLASSES},
        "objects": {name: definition(schema["objects"][name]) for name in OBJECTS},
    }


def lines(value, depth):
    """One line per type, class and object."""
    if depth == 0:
        return json.dumps(value, sort_keys=True)
    members = [f"{json.dumps(name)}: {lines(member, depth - 1)}" for name, member in value.items()]
    return "{\n" + ",\n".join(members) + "\n}"


directory = pathlib.Path(sys.argv[1])
versions = {version: extract(json.loads((directory / f"{version}.json").read_text())) for version in VERSIONS}
text = ",\n".join(f'"{version}": {lines(schema, 2)}' for version, schema in versions.items())
output = pathlib.Path(__file__).with_name("schema.json")
output.write_text("{\n" + f'"source": {json.dumps(SOURCE)},\n{text}\n' + "}\n")
