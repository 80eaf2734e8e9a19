"""Bytes over HTTP: who may have them, which of them, and how they are sent."""
