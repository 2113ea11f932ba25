"""The verification server: a core without I/O, and its asyncio host."""
