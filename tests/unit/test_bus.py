"""Events on their way: checked, batched, tried again, in order, or named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollbook.contract import events
from rollbook.messages.bus import Bus, EventNotAccepted, EventTooLarge

PASSING = {"ErrorCode": "InternalFailure", "ErrorMessage": "later"}


class EventBridge:
    """Takes what its answers say: an error for the entries of these places, call by call."""

    def __init__(self, *faults: dict[int, dict[str, str]]) -> None:
        self.faults = list(faults)
        self.calls: list[list[dict[str, Any]]] = []
        self.taken: list[str] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.calls.append(Entries)
        assert len(Entries) <= 10
        assert sum(len((e["Source"] + e["DetailType"] + e["Detail"]).encode()) for e in Entries) <= 256 * 1024
        faults = self.faults.pop(0) if self.faults else {}
        answers: list[dict[str, str]] = []
        for place, entry in enumerate(Entries):
            if place not in faults:
                self.taken.append(msgspec.json.decode(entry["Detail"])["studentid"])
            answers.append(faults.get(place) or {"EventId": f"id of {self.taken[-1]}"})
        return {"FailedEntryCount": len(faults), "Entries": answers}


def saved(name: str, table: str = "t") -> events.StudentSaved:
    return events.StudentSaved(correlation_id="1", table=table, studentid=name, created=True)


def put(bridge: EventBridge, *made: events.Event) -> list[str]:
    return Bus(bridge, "bus", sleep=lambda _: None).put(*made)


def test_25_events_arrive_as_25_in_their_order_although_some_fail_at_first() -> None:
    bridge = EventBridge({3: PASSING, 7: PASSING}, {1: PASSING}, {}, {0: PASSING})
    names = [f"s{number}" for number in range(25)]
    assert put(bridge, *map(saved, names)) == [f"id of {name}" for name in names]
    assert sorted(bridge.taken) == sorted(names)
    batches = [{name for name in bridge.taken if int(name[1:]) // 10 == batch} for batch in range(3)]
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert set(bridge.taken[:10]) == batches[0]
    assert set(bridge.taken[10:20]) == batches[1]


def test_what_is_not_taken_after_six_tries_is_named() -> None:
    bridge = EventBridge(*[{0: PASSING}] * 6)
    with pytest.raises(EventNotAccepted, match="did not accept 1 of 2 events: 'student saved': InternalFailure: later"):
        put(bridge, saved("a"), saved("b"))
    assert bridge.taken == ["b"]
    assert len(bridge.calls) == 6


def test_an_entry_that_is_wrong_is_not_tried_again() -> None:
    bridge = EventBridge({0: {"ErrorCode": "MalformedDetail", "ErrorMessage": "no"}})
    with pytest.raises(EventNotAccepted, match="MalformedDetail"):
        put(bridge, saved("a"))
    assert len(bridge.calls) == 1


def test_batches_keep_below_256_kb_and_a_larger_event_is_refused_before_anything_is_sent() -> None:
    bridge = EventBridge()
    put(bridge, *(saved(str(number), "x" * 100_000) for number in range(5)))
    assert [len(call) for call in bridge.calls] == [2, 2, 1]
    bridge = EventBridge()
    with pytest.raises(EventTooLarge, match="EventBridge accepts 262,144"):
        put(bridge, saved("a"), saved("b", "x" * 263_000))
    assert bridge.calls == []


def test_an_event_that_is_not_what_its_class_says_is_refused_before_anything_is_sent() -> None:
    bridge = EventBridge()
    with pytest.raises(msgspec.ValidationError, match=r"length >= 1.*studentid"):
        put(bridge, saved("a"), saved(""))
    assert bridge.calls == []


@pytest.mark.parametrize("kind", events.CATALOGUE)
def test_each_kind_of_the_catalogue_has_a_schema_and_refuses_what_is_not_in_it(kind: type[events.Event]) -> None:
    schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
    assert schema["additionalProperties"] is False
    assert "correlationId" in schema["required"]
    assert all("description" in field for field in schema["properties"].values())
    with pytest.raises(events.NotInCatalogue, match=f"the detail of '{kind.DETAIL_TYPE}' is wrong"):
        events.parse(kind.SOURCE, kind.DETAIL_TYPE, {"correlationId": "1", "more": 1})


def test_an_unknown_event_is_refused_with_what_there_is() -> None:
    with pytest.raises(events.NotInCatalogue, match=r"there are: rollbook\.students, student saved"):
        events.parse("rollbook.students", "student lost", {})
