"""The protocol between drafter and verifier: messages, wire codec, sessions and transports."""
