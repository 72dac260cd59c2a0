"""The schema in words."""

from __future__ import annotations

from moxy.config.schema import Config
from moxy.config.sections import Key, Part, parts
from moxy.config.types import Section


def every(model: type[Section]) -> list[type[Section]]:
    """Those of our own that are derived from a model, at any distance."""
    found = [derived for child in model.__subclasses__() for derived in (child, *every(child))]
    return [derived for derived in found if derived.__module__.startswith("moxy.")]


def key(section: str, name: str, kind: str = "") -> Key:
    part = next(part for part in parts() if part.key == section and part.kind == kind)
    return next(key for key in part.keys if key.name == name)


def test_all_sections_are_found_in_the_order_of_the_schema() -> None:
    assert [(part.key, part.kind, part.example) for part in parts()] == [
        ("", "", ""),
        ("listener", "", "mx"),
        ("certificate", "", "mx"),
        ("limits", "", ""),
        ("timeouts", "", ""),
        ("destination", "", "alpha"),
        ("routes", "file", "domains"),
        ("routes", "dbm", "customers"),
        ("routes", "nodb", "others"),
        ("delivery", "", ""),
        ("relay", "", ""),
        ("ledger", "", ""),
        ("log", "filelog", "mail"),
        ("log", "syslog", "syslog"),
        ("log", "gdbmlog", "totals"),
        ("log", "sys_and_gdbmlog", "both"),
        ("log", "nolog", "nothing"),
        ("operator_log", "", ""),
    ]
    assert {part.model for part in parts()} == {model for model in every(Section) if not model.__subclasses__()}


def test_every_section_and_every_key_is_documented() -> None:
    for part in parts():
        assert part.meaning.endswith("."), part.key
        for key in part.keys:
            assert key.meaning.endswith("."), f"{part.key}.{key.name}"
            assert key.form
            assert key.example


def test_keys_of_the_top_are_values_and_no_sections() -> None:
    names = [key.name for key in parts()[0].keys]
    assert names == [
        "hostname",
        "banner",
        "runas",
        "pid_file",
        "spread",
        "workers",
        "syslog_socket",
        "hide_destinations",
        "extensions",
        "probe",
        "postmaster",
    ]
    assert set(names) | {part.key for part in parts()[1:]} == set(Config.model_fields)


def test_a_key_tells_its_form_its_bounds_and_its_default() -> None:
    assert key("limits", "recipients").form == "number, at least 100"
    assert key("limits", "message_size").form == "size, at least 64KiB"
    assert key("limits", "message_size").default == '"50MiB"'
    assert key("timeouts", "content").default == '"30m"'
    assert key("listener", "listen").default == '["0.0.0.0:25", "[::]:25"]'
    assert key("operator_log", "level").form == "`debug`, `info`, `warning` or `error`"
    assert key("", "hide_destinations").default == "true"
    assert key("delivery", "connections").default == "40"


def test_a_key_without_default_has_an_example() -> None:
    path = key("routes", "path", "file")
    assert (path.required, path.default, path.example) == (True, "", '"moxy.db"')
    pid_file = key("", "pid_file")
    assert (pid_file.required, pid_file.default, pid_file.form) == (False, "", "path")
    assert key("destination", "lease").form == key("delivery", "lease").form


def test_the_kind_comes_first_and_what_kinds_share_last() -> None:
    names = {part.kind: [key.name for key in part.keys] for part in parts() if part.key == "log"}
    assert names["filelog"] == ["kind", "path", "format", "date_format"]
    assert names["sys_and_gdbmlog"] == ["kind", "path", "facility", "format", "date_format"]


def test_an_introduction_stands_at_the_first_section_of_its_key() -> None:
    introduced = [(part.key, part.kind) for part in parts() if part.introduction]
    assert introduced == [("routes", "file"), ("log", "filelog")]


def test_the_documentation_of_a_long_field_is_one_paragraph() -> None:
    assert "\n" not in key("log", "format", "filelog").meaning
    assert isinstance(parts()[0], Part)
