from __future__ import annotations

import errno
from typing import Any

from sgldoctor.probes.ports import probe
from sgldoctor.snapshot import Known, Unknown
from tests.fakes import FakeSystem

NOBODY = {"holder": None, "pid": None, "user": None}


def record(port: int, family: str, use: str, problem: str | None = None, **holder: Any) -> dict[str, Any]:
    head = {"port": port, "family": family, "free": problem is None, "problem": problem, "use": use}
    return {**head, **NOBODY, **holder}


def test_free_ports_are_told_in_order_for_both_families() -> None:
    system = FakeSystem(ports={})

    assert probe(system, {30001: "dist-init", 30000: "server"}) == {
        "ports": Known(
            [
                record(30000, "ipv4", "server"),
                record(30000, "ipv6", "server"),
                record(30001, "ipv4", "dist-init"),
                record(30001, "ipv6", "dist-init"),
            ],
            "bind",
        )
    }
    assert [asked for asked in system.asked if asked[0] == "port_holders"] == []


def test_a_held_port_names_its_holder_on_the_family_that_is_held() -> None:
    system = FakeSystem(
        ports={(30000, "ipv4"): "in use"},
        holders={
            30000: [
                {"pid": None, "name": None, "user": None},
                {"pid": 4711, "name": "python3", "user": "ada"},
                {"pid": 4712, "name": "python3", "user": "bob"},
            ]
        },
    )

    assert probe(system, {30000: "server"})["ports"] == Known(
        [
            record(30000, "ipv4", "server", "in use", holder="python3", pid=4711, user="ada"),
            record(30000, "ipv6", "server"),
        ],
        "bind",
    )


def test_a_holder_that_cannot_be_seen_leaves_the_port_held() -> None:
    held = {(30000, "ipv4"): "in use", (30000, "ipv6"): "in use"}
    expected = Known([record(30000, "ipv4", "server", "in use"), record(30000, "ipv6", "server", "in use")], "bind")

    invisible = FakeSystem(ports=held, holders={30000: [{"pid": None, "name": None, "user": None}]})
    forbidden = FakeSystem(ports=held, errors={30000: errno.EACCES})
    gone = FakeSystem(ports=held, holders={30000: []})

    assert probe(invisible, {30000: "server"})["ports"] == expected
    assert probe(forbidden, {30000: "server"})["ports"] == expected
    assert probe(gone, {30000: "server"})["ports"] == expected


def test_a_machine_without_ipv6_is_asked_about_ipv4_alone() -> None:
    system = FakeSystem(ports={(30000, "ipv6"): "address family not supported"})

    assert probe(system, {30000: "server"})["ports"] == Known([record(30000, "ipv4", "server")], "bind")


def test_a_privileged_port_is_refused_and_nobody_holds_it() -> None:
    system = FakeSystem(ports={(80, "ipv4"): "permission denied", (80, "ipv6"): "permission denied"})

    assert probe(system, {80: "server"})["ports"] == Known(
        [record(80, "ipv4", "server", "permission denied"), record(80, "ipv6", "server", "permission denied")], "bind"
    )


def test_no_ports_asked_for_is_an_empty_list_and_an_image_has_none_to_ask() -> None:
    assert probe(FakeSystem(ports={}), {}) == {"ports": Known([], "bind")}
    assert probe(FakeSystem(), {30000: "server"}) == {"ports": Unknown("ports: an unpacked image does not run")}
