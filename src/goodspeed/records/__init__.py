"""What is written down: event logs, acceptance traces, and the replay of event logs."""
