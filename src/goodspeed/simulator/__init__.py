"""Draft servers, verification servers and networks in virtual time, placement the very objects that serve."""
