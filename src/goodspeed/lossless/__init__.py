"""Checks that speculative decoding keeps the text of the target model."""
