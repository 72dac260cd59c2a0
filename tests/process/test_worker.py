"""A running Moxy told to stop or to reopen its logs, as a process with real clients."""

from __future__ import annotations

import os
import signal
import smtplib
import socket

import pytest

from support.destination import Act, Phase
from support.moxy_commands import Sink, written
from support.moxy_process import running, running_moxy
from support.scripted import scripted_destinations

ANN, BOB = "ann@client.test", "bob@one.test"


@pytest.fixture
def sink(directory):
    with Sink(directory) as sink:
        yield sink


@pytest.fixture
def moxy(directory, sink):
    with running_moxy(directory, f"one.test 127.0.0.1:{sink.port}\n") as moxy:
        yield moxy


def client(moxy):
    client = smtplib.SMTP("127.0.0.1", moxy.port)
    client.ehlo()
    return client


def in_the_middle_of_content(moxy):
    """A client that has sent some content, and no dot."""
    busy = client(moxy)
    busy.mail(ANN)
    busy.rcpt(BOB)
    assert busy.docmd("DATA")[0] == 354
    busy.send("Subject: late\r\n\r\n")
    return busy


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_message_under_way_is_finished_while_idle_clients_get_421(moxy, sink, how):
    idle, busy = client(moxy), in_the_middle_of_content(moxy)
    os.kill(moxy.pid, how)
    assert idle.getreply()[0] == 421
    busy.send("content\r\n.\r\n")
    assert busy.getreply()[0] == 250
    assert busy.getreply()[0] == 421
    idle.close()  # or Moxy waits for that until their time is over
    busy.close()
    assert moxy.wait() == 0
    sink.wait_for(": late")


def test_a_client_between_mail_and_data_may_finish_too(moxy):
    busy = client(moxy)
    busy.mail(ANN)
    idle = client(moxy)
    os.kill(moxy.pid, signal.SIGTERM)
    assert idle.getreply()[0] == 421  # now it is draining
    assert busy.rcpt(BOB)[0] == 250
    assert busy.data(b"Subject: x\r\n\r\n")[0] == 250
    assert busy.getreply()[0] == 421


def test_no_new_client_is_taken_while_draining(moxy):
    idle, busy = client(moxy), in_the_middle_of_content(moxy)
    os.kill(moxy.pid, signal.SIGTERM)
    assert idle.getreply()[0] == 421
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", moxy.port))
    busy.close()


def test_who_does_not_finish_in_time_is_cut_off_without_a_verdict(directory, sink):
    configuration = written(directory, f"one.test 127.0.0.1:{sink.port}\n", '[timeouts]\ndrain = "200ms"\n')
    with running(*configuration) as moxy:
        busy = in_the_middle_of_content(moxy)
        assert moxy.stop() == 0
        with pytest.raises(smtplib.SMTPServerDisconnected):
            busy.getreply()
    assert sink.stop() == 0
    assert "sink: 0 messages" in sink.text()


def test_sigusr1_opens_the_log_anew(moxy):
    rotated = moxy.record_file.with_name("moxy.log.1")
    with client(moxy) as sender:
        sender.sendmail(ANN, BOB, b"Subject: before\r\n\r\n")
        moxy.wait_until(moxy.records, "the first record")
        moxy.record_file.rename(rotated)
        os.kill(moxy.pid, signal.SIGUSR1)
        moxy.wait_until(moxy.record_file.exists, "a new log")
        sender.sendmail(ANN, BOB, b"Subject: after\r\n\r\n")
        moxy.wait_until(moxy.records, "the second record")
    assert len(moxy.records()) == 1
    assert len(rotated.read_text().splitlines()) == 1


def test_it_says_where_it_listens_and_that_it_has_stopped(moxy):
    moxy.stop()
    assert f"127.0.0.1:{moxy.port}" in moxy.text()
    assert "stopped" in moxy.text()


def test_at_level_debug_both_dialogues_are_told_and_no_content(directory, sink):
    table = f"one.test 127.0.0.1:{sink.port}\n"
    with running_moxy(directory, table, "operator_level debug\n") as moxy, client(moxy) as sender:
        sender.sendmail(ANN, BOB, b"Subject: a secret\r\n\r\n")
    lines = [line for line in moxy.text().splitlines() if '"dialogue"' in line]
    for side in ('"client": "127.0.0.1:', f'"destination": "127.0.0.1:{sink.port}"'):
        assert any(side in line and f"RCPT TO:<{BOB}>" in line.upper().replace(BOB.upper(), BOB) for line in lines)
        assert any(side in line and '"S": "354' in line for line in lines)
    assert "a secret" not in moxy.text()


def test_the_first_client_is_offered_what_destinations_have(directory):
    with scripted_destinations(1) as (destination,):
        destination.answers[Phase.EHLO] = "250-one.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN"
        with running_moxy(directory, f"one.test {destination.address}\n") as moxy, client(moxy) as sender:
            assert sender.has_extn("smtputf8")
            assert sender.has_extn("dsn")
        assert "offer_changed" in moxy.text()


def test_a_destination_that_says_nothing_keeps_moxy_neither_from_starting_nor_from_stopping(directory):
    with scripted_destinations(1) as (destination,):
        destination.answers[Phase.GREETING] = Act.SILENCE
        with running_moxy(directory, f"one.test {destination.address}\n") as moxy:
            sender = client(moxy)
            assert sender.has_extn("8bitmime")
            assert not sender.has_extn("dsn")
            assert destination.open
            os.kill(moxy.pid, signal.SIGTERM)
            moxy.wait_until(lambda: not destination.open, "the probe to end")
            sender.close()
