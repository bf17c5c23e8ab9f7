"""What leaves a function: events on the bus, mails, metrics."""
