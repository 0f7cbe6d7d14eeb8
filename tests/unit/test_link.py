"""The relay's core against a network that drops, repeats and reorders, and clients that read when they like."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsessions.exceptions import FrameError
from syncsessions.pairing.link import ASK_AFTER, WINDOW, Link


class Party:
    """A link with a client that sends as many payloads as it can, and acknowledges what it has read."""

    def __init__(self, name: str, frames: int) -> None:
        self.link = Link(0.0)
        self.name = name
        self.to_send = deque(f"{name}{number}" for number in range(1, frames + 1))
        self.read: list[tuple[int, str]] = []
        self.relayed = 0
        self.outbox: list[dict[str, Any]] = []

    def send(self, now: float) -> None:
        while self.to_send:
            try:
                packet = self.link.send(self.to_send[0], now)
            except FrameError as error:
                assert error.code == "window_full"
                return
            self.to_send.popleft()
            self.outbox.append(packet)

    def receive(self, packet: dict[str, Any], now: float) -> None:
        heard = self.link.receive(packet, now)
        self.read.extend(heard.deliver)
        if heard.relayed is not None:
            assert heard.relayed > self.relayed
            self.relayed = heard.relayed
        self.outbox.extend(heard.answers)

    def acknowledge(self) -> None:
        if self.read:
            packet = self.link.acknowledge(self.read[-1][0])
            if packet is not None:
                self.outbox.append(packet)


def run(seed: int, frames: int, loss: float, repeat: float, reorder: float) -> tuple[Party, Party, int]:
    draw = random.Random(seed)
    left, right = Party("l", frames), Party("r", frames)
    wires: dict[str, list[dict[str, Any]]] = {"l": [], "r": []}
    now, packets = 0.0, 0
    while (left.relayed, right.relayed) != (frames, frames):
        now += 0.01
        assert now < 3600, "the relay stands still"
        for party, other in ((left, right), (right, left)):
            party.send(now)
            party.outbox.extend(party.link.tick(now))
            for packet in party.outbox:
                packets += 1
                copies = 0 if draw.random() < loss else 2 if draw.random() < repeat else 1
                wires[other.name] += [packet] * copies
            party.outbox.clear()
        for party in (left, right):
            arrived, wires[party.name] = wires[party.name], []
            if draw.random() < reorder:
                draw.shuffle(arrived)
            for packet in arrived:
                party.receive(packet, now)
            if draw.random() < 0.7:
                party.acknowledge()
    return left, right, packets


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0, 0.6),
    repeat=st.floats(0, 0.3),
    reorder=st.floats(0, 1),
    frames=st.integers(1, 60),
)
def test_all_arrives_in_order_and_once(seed: int, loss: float, repeat: float, reorder: float, frames: int) -> None:
    left, right, _packets = run(seed, frames, loss, repeat, reorder)
    assert left.read == [(number, f"r{number}") for number in range(1, frames + 1)]
    assert right.read == [(number, f"l{number}") for number in range(1, frames + 1)]
    assert left.link.drained
    assert left.link.due is None
    assert right.link.due is None


def test_on_a_good_network_a_frame_costs_two_packets() -> None:
    _left, _right, packets = run(1, 1000, 0, 0, 0)
    assert packets <= 2 * 1000 * 2 + 10


def test_what_a_bad_network_loses_costs_little_more() -> None:
    """Two parties that both miss something ask each other once, not at every packet that comes."""
    left, _right, packets = run(1, 1000, 0.1, 0, 0)
    assert left.read[-1][0] == 1000
    assert packets <= 1.5 * 1000 * 2


def test_what_was_sent_again_and_may_still_arrive_is_not_sent_once_more() -> None:
    here, there = Link(0.0), Link(0.0)
    here.send("lost", 0.0)
    questions = [
        *there.receive(here.send("b", 0.0), 0.0).answers,
        there.send("crossing", 0.0),
        *there.receive(here.ask(), 0.0).answers,
    ]
    again = [packet for question in questions for packet in here.receive(question, 0.0).answers if packet["seq"]]
    assert [packet["payload"] for packet in again] == ["lost"]
    lost_again = there.receive(here.ask(), 0.0).answers
    again = [packet for question in lost_again for packet in here.receive(question, 0.0).answers]
    assert [packet["payload"] for packet in again] == ["lost"]
    assert there.receive(again[0], 0.0).deliver == [(1, "lost"), (2, "b")]


def test_the_window_is_full_at_sixteen_and_frees_as_the_client_there_acknowledges() -> None:
    here, there = Link(0.0), Link(0.0)
    for number in range(WINDOW):
        there.receive(here.send(str(number), 0.0), 0.0)
    with pytest.raises(FrameError) as caught:
        here.send("one more", 0.0)
    assert caught.value.code == "window_full"
    assert here.sent == WINDOW
    packet = there.acknowledge(3)
    assert packet is not None
    assert here.receive(packet, 0.1).relayed == 3
    for number in range(3):
        assert here.send(str(number), 0.1)["seq"] == WINDOW + number + 1
    with pytest.raises(FrameError):
        here.send("again one more", 0.1)


@pytest.mark.parametrize("seq", [0, 2, -1, True, None, "1", 1.0, 10**30, [1]])
def test_what_was_never_sent_cannot_be_acknowledged(seq: object) -> None:
    here, there = Link(0.0), Link(0.0)
    there.receive(here.send("a", 0.0), 0.0)
    assert not there.acknowledges(seq)
    with pytest.raises(FrameError) as caught:
        there.acknowledge(seq)
    assert caught.value.code == "bad_frame"
    assert there.acknowledges(1)
    assert there.acknowledge(1) is not None
    assert there.acknowledge(1) is None
    assert not there.acknowledges(1)


def test_a_reader_that_stops_is_asked_ever_more_rarely() -> None:
    here, there = Link(0.0), Link(0.0)
    there.receive(here.send("a", 0.0), 0.0)
    now, asked = 0.0, []
    while now < 60:
        now += 0.01
        for packet in here.tick(now):
            asked.append(now)
            for answer in there.receive(packet, now).answers:
                assert not here.receive(answer, now).answers
    assert len(asked) < 60 / ASK_AFTER[1] + 10
    assert now - here.silent_since < 2 * ASK_AFTER[1]


def test_a_lost_last_frame_is_found_missing_although_the_other_side_keeps_talking() -> None:
    here, there = Link(0.0), Link(0.0)
    here.receive(there.ask(), 0.0)
    here.send("lost", 0.0)
    now, got = 0.0, []
    for _number in range(WINDOW):
        now += 0.02
        for packet in [there.send("chatter", now), *there.tick(now)]:
            for answer in here.receive(packet, now).answers:
                got += there.receive(answer, now).deliver
        for packet in here.tick(now):
            for answer in there.receive(packet, now).answers:
                for again in here.receive(answer, now).answers:
                    got += there.receive(again, now).deliver
    assert got == [(1, "lost")]
