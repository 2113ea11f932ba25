"""The verification server: a pure core and its asyncio host."""
