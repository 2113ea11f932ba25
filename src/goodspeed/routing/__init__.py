"""Which of several verifiers a new stream is opened at."""
