"""Prompts: four built-in domains, and JSONL files of known forms."""
