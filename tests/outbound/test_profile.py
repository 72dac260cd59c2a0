"""What is known of the destinations, and what clients can be offered because of it (contract T8)."""

from __future__ import annotations

import pytest
import structlog.testing

from moxy.mail import Host
from moxy.outbound.profile import FORGOTTEN_SECONDS, KNOWN, SETTLED_SECONDS, SHOWN, Profile
from moxy.outbound.settings import Settings
from moxy.smtp.extension import EIGHT_BIT, FOR_ALL, FOR_ANY, Extensions
from support.clock import Clock
from support.destination import Phase, running_destination
from support.relay import route, running_relay
from support.scenario import scenario, until
from support.smtpclient import connected

PLAIN = Settings()


class Known:
    """A profile, whose time passes only when a test says so, and what has been told of it."""

    def __init__(self, pinned: frozenset[str] | None = None) -> None:
        self.clock = Clock()
        self.profile = Profile(pinned, self.clock)
        self.told: list[frozenset[str]] = []
        self.profile.changed = self.told.append

    def hears(self, host: str, *keywords: str, settings: Settings = PLAIN, verified: bool = False) -> frozenset[str]:
        """A host has announced this; what is offered then."""
        announced = Extensions(dict.fromkeys(keywords, ""))
        self.profile.learn(settings, Host(host), announced, verified=verified)
        return self.profile.offered


def test_before_anything_is_known_8bitmime_alone_is_offered() -> None:
    assert Known().profile.offered == {"8BITMIME"}


@pytest.mark.parametrize("keyword", sorted(FOR_ALL))
def test_what_can_be_done_without_is_offered_if_all_have_it(keyword: str) -> None:
    known = Known()
    assert keyword in known.hears("a", keyword, "CHUNKING")
    assert keyword in known.hears("b", keyword, "CHUNKING", "X-OTHER")
    assert keyword not in known.hears("c", "CHUNKING")


@pytest.mark.parametrize("keyword", sorted(FOR_ANY))
def test_what_cannot_be_done_without_is_offered_if_any_has_it(keyword: str) -> None:
    known = Known()
    assert keyword not in known.hears("a", "8BITMIME")
    assert keyword in known.hears("b", keyword, "8BITMIME", verified=True)
    assert keyword in known.hears("c", "8BITMIME")


def test_requiretls_counts_only_over_verified_tls() -> None:
    known = Known()
    assert "REQUIRETLS" not in known.hears("a", "REQUIRETLS")
    assert known.profile.why_not("REQUIRETLS") == "no destination has it over verified TLS"


def test_binarymime_counts_only_with_chunking() -> None:
    assert "BINARYMIME" not in Known().hears("a", "BINARYMIME")


def test_smtputf8_is_not_offered_without_8bitmime() -> None:
    known = Known()
    known.hears("a", "SMTPUTF8", "8BITMIME")
    assert known.hears("b", "DSN") == frozenset()
    assert known.profile.why_not("SMTPUTF8") == "it needs 8BITMIME"


def test_who_gets_8_bit_content_all_the_same_counts_as_having_8bitmime() -> None:
    assert Known().hears("a", settings=Settings(eight_bit="pass")) == {"8BITMIME"}
    assert Known().hears("a") == frozenset()


def test_a_host_that_is_spoken_with_in_two_ways_counts_twice() -> None:
    known = Known()
    known.hears("a", "DSN")
    assert "DSN" not in known.hears("a", settings=Settings(protocol="lmtp"))


def test_a_changed_offer_is_told_once() -> None:
    known = Known()
    for _ in range(3):
        known.hears("a", "8BITMIME", "DSN")
    known.hears("b", "8BITMIME", "DSN", "DELIVERBY")
    assert known.told == [{"8BITMIME", "DSN"}]


def test_the_operator_is_told_why_the_offer_changes() -> None:
    known = Known()
    with structlog.testing.capture_logs() as logged:
        known.hears("192.0.2.9", "8BITMIME", "DSN")
        known.hears("192.0.2.10", "8BITMIME")
        known.hears("192.0.2.10", "8BITMIME")
    assert [(entry["log_level"], entry["more"], entry["less"], entry["because"]) for entry in logged] == [
        ("info", ["DSN"], [], []),
        ("info", [], ["DSN"], ["DSN: 192.0.2.10:25 lacks it"]),
    ]


def test_hosts_that_lack_an_extension_are_named_but_not_all() -> None:
    known = Known()
    assert known.profile.why_not("DSN") == "no destination is known yet"
    for number in range(SHOWN + 2):
        known.hears(f"192.0.2.{number}", "8BITMIME")
    assert known.profile.why_not("DSN") == "192.0.2.0:25, 192.0.2.1:25, 192.0.2.2:25 and 2 more lack it"
    assert known.profile.why_not("SMTPUTF8") == "no destination has it"
    assert known.profile.why_not("8BITMIME") == ""


def test_a_pinned_offer_stays() -> None:
    known = Known(frozenset({"DSN"}))
    assert known.hears("a", "8BITMIME", "DELIVERBY") == {"DSN"}
    assert not known.told
    assert known.profile.why_not("8BITMIME") == "the configuration leaves it out"


# -- a host that changes its mind


def test_what_a_host_has_lost_counts_at_once_and_what_it_has_gained_when_that_has_lasted() -> None:
    known = Known()
    known.hears("a", "DSN")
    assert "DSN" not in known.hears("a")
    assert "DSN" not in known.hears("a", "DSN")
    known.clock.pass_time(SETTLED_SECONDS - 1)
    known.profile.review()
    assert "DSN" not in known.profile.offered
    known.clock.pass_time(1)
    known.profile.review()
    assert "DSN" in known.profile.offered


def test_of_what_any_may_have_a_gain_counts_at_once_and_a_loss_when_that_has_lasted() -> None:
    known = Known()
    known.hears("a", "8BITMIME")
    assert "SMTPUTF8" in known.hears("a", "8BITMIME", "SMTPUTF8")
    assert "SMTPUTF8" in known.hears("a", "8BITMIME")
    known.clock.pass_time(SETTLED_SECONDS)
    known.profile.review()
    assert "SMTPUTF8" not in known.profile.offered


def test_a_host_that_changes_with_every_connection_does_not_change_the_offer_with_every_connection() -> None:
    known = Known()
    for _ in range(100):
        known.hears("a", "8BITMIME", "DSN")
        known.hears("a", "8BITMIME", "SMTPUTF8")
        known.clock.pass_time(60)
        known.profile.review()
    assert known.told == [{"8BITMIME", "DSN"}, {"8BITMIME", "SMTPUTF8"}]
    assert not known.profile._known[PLAIN, "a:25"].pending.keys() - {"SMTPUTF8", "DSN"}


# -- bounds


def test_who_is_not_heard_of_for_long_is_forgotten() -> None:
    known = Known()
    known.hears("old", "8BITMIME")
    known.clock.pass_time(FORGOTTEN_SECONDS - 1)
    assert "DSN" not in known.hears("new", "8BITMIME", "DSN")
    known.clock.pass_time(1)
    known.profile.review()
    assert "DSN" in known.profile.offered
    known.clock.pass_time(FORGOTTEN_SECONDS)
    known.profile.review()
    assert known.profile.offered == EIGHT_BIT
    assert not known.profile._known


def test_a_host_that_mail_does_not_go_to_any_more_is_forgotten() -> None:
    known = Known()
    known.hears("a", "DSN")
    known.hears("b")
    known.hears("b", "DSN")  # in doubt
    known.profile.forget((PLAIN, "b:25"))
    known.profile.forget((PLAIN, "b:25"))
    assert "DSN" in known.profile.offered
    known.clock.pass_time(SETTLED_SECONDS)
    known.profile.review()


def test_no_more_hosts_are_remembered_than_the_bound_those_heard_of_last() -> None:
    known = Known()
    for number in range(KNOWN):
        known.hears(f"h{number}", "DSN")
    known.hears("h0", "DSN")
    known.hears("another", "DSN")
    assert len(known.profile._known) == KNOWN
    assert known.profile.heard((PLAIN, "h0:25")) is not None
    assert known.profile.heard((PLAIN, "h1:25")) is None


# -- a client and two destinations

WITH_DSN = "250-destination.test\r\n250-8BITMIME\r\n250 DSN"
WITHOUT = "250-destination.test\r\n250 8BITMIME"


@scenario
async def test_a_client_that_was_offered_too_much_comes_again_and_its_message_passes() -> None:
    """T8, as Postfix does: it asks for NOTIFY=SUCCESS where DSN is offered, and reports for itself where it is not."""
    async with (
        running_destination() as one,
        running_destination() as two,
        running_relay({"one.test": route(one.port), "two.test": route(two.port)}) as relay,
    ):
        relay.ground.profile.changed = relay.service.announce
        one.answers[Phase.EHLO] = WITH_DSN
        two.answers[Phase.EHLO] = WITHOUT
        async with connected(relay.port) as client:
            await client.deliver(["a@one.test"])
        async with connected(relay.port, hello=False) as client:
            assert "250 DSN" in (await client.ask("EHLO client.test")).replace("-", " ")
            await client.ask("MAIL FROM:<s@client.test>")
            assert (await client.ask("RCPT TO:<b@two.test> NOTIFY=SUCCESS")).startswith("451 4.3.3")
            await client.ask("RSET")
            await client.ask("MAIL FROM:<s@client.test>")  # the session goes on with what it was offered
            assert (await client.ask("RCPT TO:<a@one.test> NOTIFY=SUCCESS")).startswith("250")
            await client.ask("RSET")
        async with connected(relay.port, hello=False) as client:
            offered = await client.ask("EHLO client.test")
            assert "DSN" not in offered
            assert "8BITMIME" in offered
            assert (await client.deliver(["b@two.test"])).startswith("250")
        assert one.commands("RCPT") == ["RCPT TO:<a@one.test>", "RCPT TO:<a@one.test> NOTIFY=SUCCESS"]
        assert len(two.messages) == 1


@scenario
async def test_a_destination_that_offers_other_things_on_another_connection_changes_the_offer() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        relay.ground.profile.changed = relay.service.announce
        destination.answers[Phase.EHLO] = WITH_DSN
        async with connected(relay.port) as client:
            await client.deliver(["a@one.test"])
            await client.deliver(["a@one.test"])
        assert relay.service.extensions == {"8BITMIME", "DSN"}
        destination.answers[Phase.EHLO] = WITHOUT
        relay.directory.close()
        await until(lambda: not destination.open, "the connection to end")
        async with connected(relay.port) as client:
            await client.deliver(["a@one.test"])
        assert relay.service.extensions == {"8BITMIME"}
        assert relay.ground.profile.why_not("DSN") == f"{destination.address} lacks it"


@scenario
async def test_what_a_copy_goes_to_does_not_count() -> None:
    async with running_destination() as required, running_destination() as archive:
        required.answers[Phase.EHLO] = WITH_DSN
        archive.answers[Phase.EHLO] = WITHOUT
        async with running_relay(route(required.port, copies=(archive.port,))) as relay:
            async with connected(relay.port) as client:
                await client.deliver(["a@one.test"])
            await until(lambda: archive.messages, "the copy")
            assert relay.ground.profile.offered == {"8BITMIME", "DSN"}
