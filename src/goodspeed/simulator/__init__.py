"""Draft servers, verification servers and networks in virtual time, hosting the very objects that serve."""
