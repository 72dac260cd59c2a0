"""The sizes of the protocol: not under what RFC 5321 §4.5.3.1 asks for."""

from __future__ import annotations

from moxy.smtp import limits
from moxy.smtp.address import PATH_LIMIT


def test_a_command_line_has_room_for_a_path_and_for_parameters():
    assert limits.COMMAND_LINE >= 512
    assert limits.COMMAND_LINE - PATH_LIMIT >= 2048


def test_a_reply_line_of_ours_is_no_longer_than_clients_must_take():
    assert limits.REPLY_LINE == 512


def test_recipients_are_at_least_100():
    assert limits.RECIPIENTS >= 100
    assert 1 < limits.PARALLEL_RECIPIENTS <= limits.RECIPIENTS


def test_messages_may_be_50_mebibytes():
    assert limits.MESSAGE_SIZE == 52_428_800
