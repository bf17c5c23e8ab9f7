"""`rollbook events`: the event bus and the dead-letter queues."""
