"""The draft server: a pure core, its asyncio host, and the OpenAI-compatible HTTP edge."""
