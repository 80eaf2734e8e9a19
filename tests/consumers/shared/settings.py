"""What a service is told by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """`database_url` and `port` are the service's own; `refkeep_key` needs the scopes read and write.

    `media_url` is where browsers fetch pictures. `patience` is for how many seconds Refkeep is asked again before our
    caller is told to come again. `own_covers` is the library's way back: pictures go to a table of its own, as they did
    before there was Refkeep.
    """

    schema: str
    database_url: str
    port: int
    refkeep_url: str
    refkeep_key: str
    media_url: str
    patience: float
    own_covers: bool = False

    @classmethod
    def read(cls, schema: str) -> Settings:
        """From DATABASE_URL, PORT, REFKEEP_ADDRESS, REFKEEP_ACCESS_KEY; MEDIA_URL, PATIENCE and COVERS have defaults.

        Raises `KeyError` for what is missing, `ValueError` for COVERS that are neither `refkeep` nor `own`.
        """
        env = os.environ
        address = env["REFKEEP_ADDRESS"]
        ways = ("refkeep", "own")
        return cls(
            schema=schema,
            database_url=env["DATABASE_URL"],
            port=int(env["PORT"]),
            refkeep_url=address,
            refkeep_key=env["REFKEEP_ACCESS_KEY"],
            media_url=env.get("MEDIA_URL", address),
            patience=float(env.get("PATIENCE", "15")),
            own_covers=bool(ways.index(env.get("COVERS", "refkeep"))),
        )
