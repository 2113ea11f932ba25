"""What drafter and verifier say to each other: messages, wire codec, sessions, links, transports."""

import os

# gRPC reads this when it is first used. Its default prints a line to stderr for every link that a peer ends.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
