"""A hospital: its readers, its private cache and store, and what it answers to messages."""
