"""What drafter and verifier say to each other: messages, wire codec, sessions, links, transports."""
