"""`python -m tests.consumers.book`: the book service as a process of its own."""

from __future__ import annotations

from tests.consumers.book.app import SERVICE, book_app
from tests.consumers.shared.settings import Settings
from tests.consumers.shared.web import serve

settings = Settings.read(SERVICE)
serve(SERVICE, book_app(settings), settings.port)
