"""All checks, by importing them."""

from tests.synth.values import alarms, backup, delivery, edge, events, roles, storage
from tests.synth.values.view import CHECKS, faults

__all__ = ["CHECKS", "alarms", "backup", "delivery", "edge", "events", "faults", "roles", "storage"]
