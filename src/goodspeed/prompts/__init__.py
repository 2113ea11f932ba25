"""Prompts for benchmarks and tuning: four built-in domains, and JSONL files."""
