"""`python -m tests.consumers.library`: the library service as a process of its own."""

from __future__ import annotations

from tests.consumers.library.app import SERVICE, library_app
from tests.consumers.shared.settings import Settings
from tests.consumers.shared.web import serve

settings = Settings.read(SERVICE)
serve(SERVICE, library_app(settings), settings.port)
