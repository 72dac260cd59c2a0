"""The client of `moxy send`, against servers that say whatever a test wants."""

from __future__ import annotations

import asyncio

import pytest

from moxy.cli.campaign import Campaign
from moxy.cli.sending import Outcome, carry_out
from moxy.errors import MoxyError
from moxy.smtp.reply import Reply

EHLO = b"250-s\r\n250-PIPELINING\r\n250-SIZE 99999\r\n250 8BITMIME\r\n"
GOOD = {b"EHLO": EHLO, b"DATA": b"354 go on\r\n", b".": b"250 2.6.0 taken\r\n", b"QUIT": b"221 bye\r\n"}


class Server:
    """Answers each verb with fixed octets, 250 if none are given. None: it closes instead."""

    def __init__(self, answers, greeting=b"220 s\r\n"):
        self.answers = GOOD | answers
        self.greeting = greeting
        self.lines = []
        self.connections = 0

    async def serve(self, reader, writer):
        self.connections += 1
        writer.write(self.greeting)
        content = False
        while line := await reader.readline():
            if content and line != b".\r\n":
                continue
            self.lines.append(line.rstrip(b"\r\n"))
            verb = b"." if content else line[:4].upper().strip()
            answer = self.answers.get(verb, b"250 ok\r\n")
            if isinstance(answer, list):  # LMTP: one for each recipient; a None is the end
                writer.write(b"".join(each for each in answer if each is not None))
                answer = None if None in answer else b""
            if answer is None:
                break
            writer.write(answer)
            content = verb == b"DATA" and answer.startswith(b"354")
        writer.close()


def send(server, content=b"Subject: x\r\n\r\nhello\r\n", **changes):
    """What became of each message, and the dialogue."""
    outcomes, dialogue = [], []

    async def run():
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        details = {
            "server": listener.sockets[0].getsockname(),
            "hello": "client.test",
            "reverse_path": "ann@client.test",
            "recipients": ("bob@one.test", "eve@one.test"),
        }
        campaign = Campaign(**(details | changes))
        await carry_out(campaign, lambda: content, outcomes.append, lambda who, line: dialogue.append(f"{who}: {line}"))
        listener.close()

    asyncio.run(run())
    return outcomes, dialogue


def words(outcome):
    return [str(reply) if reply is not None else None for _, reply in outcome.replies]


def test_a_message_is_sent_and_the_dialogue_shown():
    (outcome,), dialogue = send(Server({}))
    assert outcome.accepted
    assert words(outcome) == ["250 2.6.0 taken", "250 2.6.0 taken"]
    assert dialogue == [
        "S: 220 s",
        "C: EHLO client.test",
        "S: 250-s",
        "S: 250-PIPELINING",
        "S: 250-SIZE 99999",
        "S: 250 8BITMIME",
        "C: MAIL FROM:<ann@client.test> SIZE=21",
        "C: RCPT TO:<bob@one.test>",
        "C: RCPT TO:<eve@one.test>",
        "C: DATA",
        "S: 250 ok",
        "S: 250 ok",
        "S: 250 ok",
        "S: 354 go on",
        "C: (21 octets of content)",
        "C: .",
        "S: 250 2.6.0 taken",
        "C: QUIT",
        "S: 221 bye",
    ]


@pytest.mark.parametrize(
    ("server", "changes"), [(Server({}), {"pipelining": False}), (Server({b"EHLO": b"250 s\r\n"}), {})]
)
def test_without_pipelining_each_command_waits_for_its_reply(server, changes):
    _, dialogue = send(server, **changes)
    assert dialogue[-9:-3] == [
        "C: RCPT TO:<eve@one.test>",
        "S: 250 ok",
        "C: DATA",
        "S: 354 go on",
        "C: (21 octets of content)",
        "C: .",
    ]


def test_a_server_without_ehlo_gets_helo_and_no_parameters():
    server = Server({b"EHLO": b"500 what?\r\n"})
    (outcome,), _ = send(server, "ä\r\n".encode())
    assert outcome.accepted
    assert server.lines[1:3] == [b"HELO client.test", b"MAIL FROM:<ann@client.test>"]


def test_8_bit_content_is_announced():
    server = Server({})
    send(server, "ä\r\n".encode())
    assert server.lines[1] == b"MAIL FROM:<ann@client.test> SIZE=4 BODY=8BITMIME"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({b"MAIL": b"550 5.7.1 not you\r\n"}, "550 5.7.1 not you"),
        ({b"RCPT": b"550 5.1.1 not him\r\n", b"DATA": b"554 nobody\r\n"}, "550 5.1.1 not him"),
        ({b"RCPT": b"550 5.1.1 not him\r\n"}, "550 5.1.1 not him"),
        ({b"DATA": b"452 full\r\n"}, "452 full"),
        ({b".": b"552 5.3.4 too big\r\n"}, "552 5.3.4 too big"),
        ({b"MAIL": b"421 4.3.2 closing\r\n"}, "421 4.3.2 closing"),
        ({b"EHLO": b"554 no\r\n", b"HELO": b"554 no\r\n"}, "554 no"),
        ({b"MAIL": None}, None),
        ({b".": None}, None),
        ({b"EHLO": None}, None),
        ({b"MAIL": b"what?\r\n"}, None),
    ],
)
def test_the_last_word_for_each_recipient_is_told(answers, expected):
    (outcome,), _ = send(Server(answers))
    assert words(outcome) == [expected, expected]
    assert not outcome.accepted


@pytest.mark.parametrize("greeting", [b"554 go away\r\n", b"421 busy\r\n"])
def test_a_refusing_greeting_is_the_answer(greeting):
    (outcome,), _ = send(Server({}, greeting))
    assert words(outcome) == [greeting.decode().strip()] * 2


def test_a_verdict_in_the_middle_of_content_ends_it():
    server = Server({b"DATA": b"354 go on\r\n552 5.3.4 enough\r\n"})
    (outcome,), dialogue = send(server, b"x" * 70 + b"\r\n")
    assert words(outcome) == ["552 5.3.4 enough"] * 2
    assert "C: ." not in dialogue


def test_a_refused_transaction_is_reset_before_the_next():
    server = Server({b"DATA": b"452 full\r\n"})
    send(server, count=2)
    assert server.lines.count(b"RSET") == 1
    assert server.connections == 1


@pytest.mark.parametrize(("per_connection", "connections"), [(1, 5), (2, 3), (100, 1)])
def test_a_connection_carries_so_many_messages(per_connection, connections):
    server = Server({})
    outcomes, _ = send(server, count=5, per_connection=per_connection)
    assert [outcome.accepted for outcome in outcomes] == [True] * 5
    assert server.connections == connections
    assert server.lines.count(b"QUIT") == connections


def test_several_connections_share_the_messages():
    server = Server({})
    outcomes, _ = send(server, count=20, concurrency=4)
    assert len(outcomes) == 20
    assert server.connections == 4


def test_after_a_lost_connection_the_next_message_gets_a_new_one():
    server = Server({b".": None})
    outcomes, _ = send(server, count=2)
    assert [words(outcome) for outcome in outcomes] == [[None, None]] * 2
    assert server.connections == 2


def test_what_a_server_says_cannot_steer_the_terminal():
    _, dialogue = send(Server({b"RCPT": b"550 \x1b[2Jgone\x9b\r\n"}))
    assert all(line.isprintable() for line in dialogue)


def test_large_content_is_stuffed_and_arrives_whole():
    received = []

    class Keeping(Server):
        async def serve(self, reader, writer):
            writer.write(b"220 s\r\n")
            octets = b""
            while not octets.endswith(b"QUIT\r\n"):
                block = await reader.read(100_000)
                octets += block
                if block.endswith(b"EHLO client.test\r\n"):
                    writer.write(EHLO)
                if block.endswith(b"DATA\r\n"):
                    writer.write(b"250 a\r\n250 b\r\n250 c\r\n354 d\r\n")
                if octets.endswith(b"\r\n.\r\n"):
                    writer.write(b"250 e\r\n")
            received.append(octets)
            writer.write(b"221 f\r\n")
            writer.close()

    content = b".a line with a dot\r\n" * 100_000
    (outcome,), _ = send(Keeping({}), content)
    assert outcome.accepted
    assert received[0].partition(b"DATA\r\n")[2] == b"." + content.replace(b"\n.", b"\n..") + b".\r\nQUIT\r\n"


def test_a_server_that_is_not_there_is_told_in_one_line():
    async def run():
        listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        place = listener.sockets[0].getsockname()
        listener.close()
        await listener.wait_closed()
        await carry_out(Campaign(place, "c.test", "", ("a@b.c",)), bytes, lambda _: None, None)

    with pytest.raises(MoxyError, match=r"^cannot connect to 127\.0\.0\.1:\d+: Connection refused$"):
        asyncio.run(run())


def test_an_ipv6_server_is_shown_in_brackets():
    assert Campaign(("::1", 25), "", "", ()).place == "[::1]:25"


LMTP = {b"EHLO": b"500 what?\r\n", b"LHLO": EHLO}
YES, NO = b"250 2.0.0 for him\r\n", b"550 5.7.1 not her\r\n"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([YES, YES], ["250 2.0.0 for him", "250 2.0.0 for him"]),
        ([NO, YES], ["550 5.7.1 not her", "250 2.0.0 for him"]),
        ([YES, None], ["250 2.0.0 for him", None]),
        ([None], [None, None]),
    ],
)
def test_lmtp_has_a_verdict_for_each_recipient(verdicts, expected):
    server = Server(LMTP | {b".": verdicts})
    (outcome,), _ = send(server, lmtp=True)
    assert words(outcome) == expected
    assert server.lines[0] == b"LHLO client.test"
    assert b"HELO client.test" not in server.lines


def test_lmtp_has_no_verdict_for_who_was_refused_before():
    class Choosy(Server):
        async def serve(self, reader, writer):
            writer.write(b"220 s\r\n")
            for answer in (EHLO, b"250 m\r\n550 5.1.1 nobody\r\n250 r\r\n354 d\r\n", YES, b"221 bye\r\n"):
                await reader.readuntil(
                    {EHLO: b"test\r\n", YES: b"\r\n.\r\n", b"221 bye\r\n": b"QUIT\r\n"}.get(answer, b"DATA\r\n")
                )
                writer.write(answer)
            writer.close()

    (outcome,), _ = send(Choosy({}), lmtp=True)
    assert words(outcome) == ["550 5.1.1 nobody", "250 2.0.0 for him"]


def test_an_lmtp_server_is_not_asked_to_speak_smtp():
    server = Server({b"LHLO": b"500 what?\r\n"})
    (outcome,), _ = send(server, lmtp=True)
    assert words(outcome) == ["500 what?"] * 2


def test_a_server_may_listen_on_a_unix_socket(tmp_path):
    outcomes = []
    server = Server({})

    async def run():
        listener = await asyncio.start_unix_server(server.serve, tmp_path / "s")
        await carry_out(Campaign((f"{tmp_path}/s", 0), "c.test", "", ("a@b.c",)), bytes, outcomes.append, None)
        listener.close()
        (tmp_path / "s").unlink(missing_ok=True)
        with pytest.raises(MoxyError, match=f"^cannot connect to unix:{tmp_path}/s: No such file or directory$"):
            await carry_out(Campaign((f"{tmp_path}/s", 0), "c.test", "", ("a@b.c",)), bytes, print, None)

    asyncio.run(run())
    assert outcomes[0].accepted


def test_a_message_is_accepted_when_every_recipient_is():
    yes, no = Reply(250, "", "ok"), Reply(550, "", "no")
    assert Outcome((("a", yes), ("b", yes))).accepted
    assert not Outcome((("a", yes), ("b", no))).accepted
    assert not Outcome((("a", yes), ("b", None))).accepted


# -- BDAT


class ChunkServer(Server):
    """A server that offers CHUNKING, and answers each chunk from a list, the last answer for ever."""

    def __init__(self, *answers):
        super().__init__({b"EHLO": b"250-s\r\n250-CHUNKING\r\n250 PIPELINING\r\n"})
        self.chunk_answers = list(answers or [b"250 chunk\r\n"])
        self.content = b""

    async def serve(self, reader, writer):
        writer.write(self.greeting)
        while line := await reader.readline():
            self.lines.append(line.rstrip(b"\r\n"))
            if line.startswith(b"BDAT"):
                self.content += await reader.readexactly(int(line.split()[1]))
                last = len(self.chunk_answers) == 1
                writer.write(self.chunk_answers[0] if last else self.chunk_answers.pop(0))
            else:
                writer.write(self.answers.get(line[:4].upper().strip(), b"250 ok\r\n"))
        writer.close()


LONG = b"Subject: dots\r\n\r\n" + b".dot\r\n" * 30_000


@pytest.mark.parametrize("content", [b".\r\n", b"", LONG])
def test_content_goes_in_chunks_if_told_so(content):
    server = ChunkServer()
    (outcome,), dialogue = send(server, content, bdat=True)
    assert outcome.accepted
    assert server.content == content
    assert not any(line == b"DATA" for line in server.lines)
    last = next(line for line in server.lines if line.endswith(b"LAST"))
    assert f"C: {last.decode()}" in dialogue
    assert f"C: ({len(content):,} octets of content)" in dialogue
    assert not any("dot" in line for line in dialogue)


def test_content_goes_by_data_where_chunks_are_not_offered():
    server = Server({})
    (outcome,), _ = send(server, bdat=True)
    assert outcome.accepted
    assert b"DATA" in server.lines


def test_a_chunk_that_is_refused_is_the_last_word():
    server = ChunkServer(b"250 one\r\n", b"552 too much\r\n")
    (outcome,), _ = send(server, LONG, bdat=True)
    assert words(outcome) == ["552 too much"] * 2
    assert not any(line.endswith(b"LAST") for line in server.lines)


def test_nothing_is_sent_in_chunks_where_nobody_was_accepted():
    server = ChunkServer()
    server.answers[b"RCPT"] = b"550 no\r\n"
    outcomes, _ = send(server, bdat=True, count=2)
    assert words(outcomes[1]) == ["550 no"] * 2
    assert server.lines.count(b"RSET") == 1
    assert not any(line.startswith(b"BDAT") for line in server.lines)
