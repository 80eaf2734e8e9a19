"""What a service is told by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """`database_url` and `port` are the service's own; `refkeep_key` needs the scopes read and write.

    `media_url` is where browsers fetch pictures. `patience` is for how many seconds Refkeep is asked again before our
    caller is told to come again.
    """

    schema: str
    database_url: str
    port: int
    refkeep_url: str
    refkeep_key: str
    media_url: str
    patience: float

    @classmethod
    def read(cls, schema: str) -> Settings:
        """From DATABASE_URL, PORT, REFKEEP_ADDRESS and REFKEEP_ACCESS_KEY; MEDIA_URL and PATIENCE have defaults.

        Raises `KeyError` for what is missing.
        """
        env = os.environ
        address = env["REFKEEP_ADDRESS"]
        return cls(
            schema=schema,
            database_url=env["DATABASE_URL"],
            port=int(env["PORT"]),
            refkeep_url=address,
            refkeep_key=env["REFKEEP_ACCESS_KEY"],
            media_url=env.get("MEDIA_URL", address),
            patience=float(env.get("PATIENCE", "15")),
        )
