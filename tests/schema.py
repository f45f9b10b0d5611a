#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The published schema and the program's reader are of one mind.

Both take the examples, both refuse the same wrong files, and at each place where keys may stand both
know the same ones: the program lists them when it is given one that it does not know."""

import copy
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

import jsonschema
import yaml

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BYWAY = os.environ.get("BYWAY", os.path.join(TOP, "build/src/cli/byway"))
UNKNOWN = "qqqqqqqqqq"  # near to nothing
count = failed = 0


def check(name, good, why=""):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}")
    if not good and why:
        print("\n".join("# " + line for line in str(why).splitlines()))


def refusal(text):
    """What the program says against a file, or nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write(text)
        f.flush()
        done = subprocess.run([BYWAY, "validate", f.name], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2), done
    return done.stderr


with open(os.path.join(TOP, "schema/byway.schema.json"), encoding="utf-8") as schema_file:
    SCHEMA = json.load(schema_file)
jsonschema.Draft202012Validator.check_schema(SCHEMA)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


class Loader(yaml.SafeLoader):
    """YAML 1.2, in which 02:00:00 and `no` are words."""


Loader.yaml_implicit_resolvers = {
    c: [(tag, regexp) for tag, regexp in resolvers if tag not in (
        "tag:yaml.org,2002:int", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp",
        "tag:yaml.org,2002:float")]
    for c, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?[0-9]+$"), list("-0123456789"))
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))


def load(text):
    return yaml.load(text, Loader)


def check_examples():
    for path in sorted(glob.glob(os.path.join(TOP, "examples/*.yaml"))):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if "byway.schema.json" not in text:  # another kind of file
            continue
        name = os.path.relpath(path, TOP)
        errors = [e.message for e in VALIDATOR.iter_errors(load(text))]
        check(f"{name}: the schema takes it", not errors, errors)
        done = subprocess.run([BYWAY, "validate", path], capture_output=True, text=True, check=False)
        check(f"{name}: so does the reader", done.returncode == 0, done.stderr)


# ---- keys ----

# A file with all kinds of mappings in it.
FULL = """
vpcs:
  v:
    cidr: 10.0.0.0/16
    cidr6: fd00::/56
    subnets: {s: {cidr: 10.0.1.0/24}}
    peers: [{vpc: w}]
  w: {cidr: 10.1.0.0/16}
networks: {n: {cidr: 10.2.0.0/24}}
vms:
  m: {network: n}
  c: {network: n, netns: c, tap_name: tap-c, ip: 192.0.2.8}
egress:
  a: {ssh: alice@bastion.example.com}
  b: {connect: "http://proxy.example.com:3128"}
  c: {openconnect: vpn.example.com, username: alice, password_file: /etc/byway/corp.pass}
host: {egress: a}
"""

# Where they are in it, and in the schema.
MAPPINGS = {
    "the file": ([], SCHEMA),
    "a VPC": (["vpcs", "v"], SCHEMA["$defs"]["vpc"]),
    "a network": (["networks", "n"], SCHEMA["$defs"]["network"]),
    "a subnet": (["vpcs", "v", "subnets", "s"], SCHEMA["$defs"]["subnet"]),
    "a peer": (["vpcs", "v", "peers", 0], SCHEMA["$defs"]["peer"]),
    "a VM": (["vms", "m"], SCHEMA["$defs"]["vm"]),
    "a clone": (["vms", "c"], SCHEMA["$defs"]["vm"]),
    "the host": (["host"], SCHEMA["$defs"]["host"]),
    "an egress of ssh": (["egress", "a"], SCHEMA["$defs"]["egress-ssh"]),
    "an egress of connect": (["egress", "b"], SCHEMA["$defs"]["egress-connect"]),
    "an egress of openconnect": (["egress", "c"], SCHEMA["$defs"]["egress-openconnect"]),
}


def at(doc, path):
    for step in path:
        doc = doc[step]
    return doc


def check_keys():
    check("the file of all kinds is taken", not refusal(FULL), refusal(FULL))
    for what, (path, schema) in MAPPINGS.items():
        doc = load(FULL)
        at(doc, path)[UNKNOWN] = 1
        said = refusal(json.dumps(doc))
        match = re.search(rf'{"a VM" if what == "a clone" else what} has no key "{UNKNOWN}": its keys are (.*)', said)
        known = sorted(match[1].split(", ")) if match else said
        check(f"the keys of {what}", known == sorted(schema["properties"]),
              f"reader: {known}\nschema: {sorted(schema['properties'])}")
        check(f"an unknown key of {what}", not VALIDATOR.is_valid(doc))
        for key in schema.get("required", []):
            if what.startswith("an egress of "):  # that is how its kind is known
                continue
            doc = load(FULL)
            del at(doc, path)[key]
            check(f"{what} without \"{key}\"",
                  not VALIDATOR.is_valid(doc) and f'needs the key "{key}"' in refusal(json.dumps(doc)))


# ---- values ----

# Right and wrong values of each key of a mapping.
VALUES = {
    "a VPC": {
        "mtu": ([1280, 65535], [0, 70000, "big", True]),
        "nat": ([True, False, "eth0", "br-1.2"], [7, [], "an-interface-too-long", "", "off", "YES", "a/b", "..", "a b"]),
        "cidr": (["10.0.0.0/20"], ["10.0.0.0", 7, "fd00::/64", ["10.0.0.0/16"]]),
        "cidr6": (["fd00::/48"], ["10.9.0.0/16", "fd00::", {}]),
        "peers": ([["w"], [{"vpc": "w"}], []], ["w", [7.5], [{}], {"w": {}}]),
        "subnets": ([{}], [[], "s", {"a/b": {"cidr": "10.0.2.0/24"}}, {"x": None}]),
    },
    "a peer": {
        "allow": ([["10.0.1.0/24"], ["10.1.0.0/24", "10.0.0.0/24"]], [[], "10.0.1.0/24", [7], [["x"]], ["10.0.1.5"]]),
        "vpc": (["w"], [["w"], "a/b"]),
    },
    "a subnet": {
        "type": (["public", "private"], ["secret", True]),
        "policy": ([os.path.join(TOP, "examples/policy-web.json")], [7, "", []]),
    },
    "a VM": {
        "ip": (["10.2.0.9", ["10.2.0.9"]], [7, "ten", ["10.2.0.2", "10.2.0.3", "10.2.0.4"]]),
        "mac": (["02:00:00:00:00:01"], [7, "02:00", "02-00-00-00-00-01", "2:0:0:0:0:1", "01:00:00:00:00:01", "00:00:00:00:00:00"]),
        "owner": (["root", "root:root", ":root", 1000], ["", [], True]),
        "rate": (["10M,5M", "0,0", "64k,1G"], ["10M", "fast,slow", 7]),
        "queues": ([1, 256], [0, 257, "two"]),
        "isolated": ([True], ["yes", 1]),
        "tap_name": ([], ["tap-x"]),
        "network": (["n", "v/s"], ["n/", "v/s/t", [], "/"]),
        "publish": ([["8080:80"], ["192.0.2.1:53-63:53-63/udp", "8080:80/TCP"], []],
                    ["8080:80", ["80"], [80], ["http"], [["8080:80"]], ["localhost:80:80"], ["80:80/sctp"], ["80:80", "80:80"]]),
        "egress": (["a", ["a", "b"], "none", "nat", ["none"]], [[], {}, ["a", "none"], True, ["a", "a"], -1]),
    },
    "a clone": {
        "netns": (["c1", 7], ["a/b", "", True, []]),
        "tap_name": (["tap-one"], ["lo", "eth0", "x" * 16, ""]),
        "ip": (["192.0.2.9", ["192.0.2.9"]], ["fd00::9", ["192.0.2.9", "fd00::9"], []]),
    },
    "the host": {
        "egress": (["b", ["a", "b"], "none"], [[], {}, ["a", "none"], True]),
        "exclude": (["10.0.0.0/8", ["10.0.0.0/8", "fd00::/8"], []], ["10.0.0.0", 7, [7], {}]),
    },
    "an egress of ssh": {
        "ssh": (["alice@bastion"], [[], {}, "", "-oX", "a b"]),
        "via": (["b"], [["b"], "b/c", -1]),
        "connections": ([1, 16], [0, 17, "two"]),
        "config": (["/etc/ssh/other", ["a", "b"]], [7, [7], ""]),
        "identity": (["id", ["a", "b"]], [7, [7], "", {}]),
        "port": ([22], [0, 65536, "22"]),
        "dns": (["remote", "192.0.2.53", "2001:db8::53"], ["virtual", 7, ""]),
        "mtu": ([1280, 65520], [1279, 65521, "1500"]),
    },
    "an egress of connect": {
        "connect": (["http://h:1", ["http://h:1", "http://g:1"]], [7, [], [7], "", ["http://h:1"] * 9]),
        "username": (["alice"], [7, "", ["a"]]),
        "password_file": (["pass"], [7, "", []]),
        "dns": (["virtual", "192.0.2.53"], ["remote", "x"]),
    },
    "an egress of openconnect": {
        "openconnect": (["vpn.example.com", 7], ["", [], {}]),
        "username": (["alice", 7], ["", []]),
        "password_command": ([], ["cat pass"]),
        "protocol": (["gp"], ["x", "", 7]),
        "servercert": (["pin-sha256:x", ["sha1:x"]], [7, [7], ""]),
        "dns": ([{}, {"servers": ["192.0.2.53"], "search": ["a.example"]}], ["192.0.2.53", {"server": []}]),
        "health": ([{"ping": "192.0.2.1", "interval": "5s"}], [{}, {"interval": "5s"}, {"ping": "192.0.2.1", "dns": "x"}, {"port": 1}]),
        "backoff": ([{"min": "1s", "max": 60}], [{"least": 1}, "1s"]),
    },
    "the file": {
        "vms": ([{}], [[], "m"]),
        "networks": ([{}], [7]),
        "egress": ([{}, {"x" * 56: {"ssh": "a"}}],
                   [[], {"x": {}}, {"x": {"sh": "a"}}, {"x": "a"}, {"x" * 57: {"ssh": "a"}}, {"none": {"ssh": "a"}}]),
    },
}


def check_value(what, key, value, right):
    doc = load(FULL)
    if key == "networks":
        del doc["vms"]
    if what == "the file":
        del doc["host"]
    at(doc, MAPPINGS[what][0])[key] = copy.deepcopy(value)
    said = refusal(json.dumps(doc))
    name = f"{what}: {key} {json.dumps(value)} is {'right' if right else 'wrong'}"
    check(name + " for the schema", VALIDATOR.is_valid(doc) == right)
    check(name + " for the reader", (not said) == right, said)


def check_values():
    for what, keys in VALUES.items():
        for key, (right, wrong) in keys.items():
            for value in right:
                check_value(what, key, value, True)
            for value in wrong:
                check_value(what, key, value, False)


check_examples()
check_keys()
check_values()
print(f"1..{count}")
sys.exit(failed > 0)
