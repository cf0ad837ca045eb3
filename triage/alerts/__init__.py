"""Telling people: messages, the sinks that carry them, and their durable delivery."""
