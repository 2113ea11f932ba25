"""Checks that speculation keeps the text of the target model."""
