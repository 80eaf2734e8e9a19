"""The store: whether it takes, gives and lets go of bytes, and whether it is the one that the database means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from service.adapters.filesystem.checkup import FolderFacts
from service.adapters.filesystem.checkup import try_out as try_folder
from service.commands.checkup.findings import Finding, fault, in_thread, ok, unknown, warning
from service.domain.location import FolderLocation, Location, parse_location
from service.settings import PREFIX, Settings

if TYPE_CHECKING:
    from service.adapters.postgres.database import Database
    from service.adapters.s3.checkup import BucketFacts
    from service.adapters.s3.client import S3Config
    from service.ports.notes import StoreNotes

_SKEWED_S, _OFF_S = 30.0, 600.0
_KEYS = "export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… (or a role, or ~/.aws/credentials)"
_ENDPOINT = f"Start the store, or correct {PREFIX}S3_ENDPOINT_URL."
_CODES = {
    "NoCredentialsError": ("No credentials were found.", _KEYS),
    "PartialCredentialsError": ("Half of the credentials is missing.", _KEYS),
    "InvalidAccessKeyId": ("The store does not know this access key.", _KEYS),
    "SignatureDoesNotMatch": ("The secret key is not that of the access key.", _KEYS),
    "RequestTimeTooSkewed": ("This machine's clock is too far from the store's.", "chronyc makestep"),
    "NoSuchBucket": ("There is no bucket of that name.", "aws s3 mb s3://<bucket>, or correct " + f"{PREFIX}S3_BUCKET"),
    "PermanentRedirect": ("The bucket is in another region.", f"{PREFIX}S3_REGION=<its region>"),
    "AuthorizationHeaderMalformed": ("The bucket is in another region.", f"{PREFIX}S3_REGION=<its region>"),
    "EndpointConnectionError": ("Nobody listens at the endpoint.", _ENDPOINT),
    "ConnectTimeoutError": ("The endpoint does not answer.", _ENDPOINT),
    "TimeoutError": ("The store does not answer.", _ENDPOINT),
    "ProfileNotFound": ("AWS_PROFILE names a profile that no file has.", "Correct AWS_PROFILE, or ~/.aws/config."),
    "ConfigParseError": ("The AWS configuration file cannot be read.", "Correct ~/.aws/config, or AWS_CONFIG_FILE."),
    "InvalidRegionError": ("This is no name of a region.", f"{PREFIX}S3_REGION=<a region such as eu-central-1>"),
    "ParamValidationError": ("This is no name of a bucket.", f"{PREFIX}S3_BUCKET=<its name alone>"),
    "EndpointResolutionError": ("The endpoint's address is malformed.", f"Correct {PREFIX}S3_ENDPOINT_URL."),
    "HTTPClientError": (
        "The endpoint cannot be asked as it is written.",
        f"Correct {PREFIX}S3_ENDPOINT_URL (without a user or a password), and AWS_CA_BUNDLE if it is set.",
    ),
    "SSLError": ("The endpoint's certificate is not trusted.", "export AWS_CA_BUNDLE=<the authority's certificate>"),
}


async def look_at_store(settings: Settings) -> list[Finding]:
    """Findings `store`, and `store-clock` of a bucket."""
    if settings.storage == "s3":
        return [unknown("store", "No bucket is named.")] if settings.s3_bucket is None else await _bucket(settings)
    return [_folder(settings.data_dir / "blobs", await in_thread(lambda: try_folder(settings.data_dir / "blobs")))]


def _folder(root: Path, facts: FolderFacts) -> Finding:
    if not facts.exists:
        return ok("store", f"{root} is not there yet: the first start makes it.")
    if facts.fault is not None:
        return fault(
            "store", f"No upload can be stored: {facts.fault}.", f"chown -R <this user> {root}; mount it writable"
        )
    if facts.apart:
        says = "Uploads begin on another file system than that of the objects, and cannot be moved there."
        return fault("store", says, f"Mount all of {root}, not {root}/objects alone.")
    return ok("store", f"{root} takes, gives and lets go of bytes.")


async def _bucket(settings: Settings) -> list[Finding]:
    from service.adapters.s3.checkup import try_out

    facts = await try_out(_config(settings))
    return [*judge_bucket(facts), *judge_clock(facts.ahead)]


def judge_bucket(facts: BucketFacts) -> Iterator[Finding]:
    """What is to be said of a bucket's rights and abilities."""
    for right, code in facts.refused.items():
        says, remedy = _CODES.get(code, (f"{right} is refused: {code}.", f"Allow {right} in the policy of this key."))
        yield fault("store", says, remedy)
    if facts.refused:
        return
    if facts.abilities is None:
        yield warning("store", "What the bucket honours could not be found out.", "Run this again.")
        return
    abilities = {"conditional writes": facts.abilities.conditional, "checksums": facts.abilities.checksums}
    missing = [name for name, is_there in abilities.items() if not is_there]
    if missing:
        says = f"The bucket works, without {' and '.join(missing)}: one net less under keys that are never used twice."
        yield warning("store", says, "Nothing must be done; a newer release of the store may have them.")
    else:
        yield ok("store", "The bucket takes, gives and lets go of bytes; it honours conditions and checksums.")


def judge_clock(ahead: float | None) -> Iterator[Finding]:
    """What is to be said of a store's clock, `ahead` seconds before ours; nothing where it is not known."""
    if ahead is None:
        return
    if abs(ahead) < _SKEWED_S:
        yield ok("store-clock", "The store's clock and this machine's agree.")
        return
    says = f"The store's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's."
    make = fault if abs(ahead) >= _OFF_S else warning
    yield make("store-clock", f"{says} At 15 minutes it refuses every request.", "Synchronise both: chronyc tracking")


async def look_at_sentinel(settings: Settings, dsn: str) -> list[Finding]:
    """Findings `sentinel` and `integrity`: for these both must answer."""
    from service.adapters.postgres.checkup import opened_as_it_is
    from service.domain.errors import BehindFence, RefkeepError

    async with AsyncExitStack() as stack:
        database = await opened_as_it_is(dsn)
        stack.push_async_callback(database.aclose)
        try:
            return await _compared(database, await _notes(settings, stack))
        except BehindFence as error:
            return [fault("sentinel", str(error), "refkeep fsck --adopt --dry-run, then as docs/backup.md says")]
        except RefkeepError as error:
            return [unknown("sentinel", str(error))]


async def _compared(database: Database, notes: StoreNotes) -> list[Finding]:
    from service.adapters.postgres.integrity import PostgresIntegrity
    from service.adapters.postgres.sentinel import PostgresSentinel
    from service.application.guard_store import GuardStore
    from service.domain.errors import WrongStore

    try:
        known = await GuardStore(PostgresSentinel(database), notes).look()
    except WrongStore as error:
        return [fault("sentinel", str(error), await _way_to_the_right_one(database, notes))]
    marked = sum((await PostgresIntegrity(database).marked()).values())
    says = (
        "The store is this database's."
        if known.placed
        else "Neither has a sentinel yet: the first collection writes it."
    )
    return [ok("sentinel", says), _integrity(marked)]


_RIGHT_STORE = (
    f"Mount the right folder, or correct {PREFIX}S3_BUCKET or {PREFIX}DATABASE_URL: one of them is another's."
)


async def _way_to_the_right_one(database: Database, notes: StoreNotes) -> str:
    """What to set: where a move has led, for who still has the store that it left."""
    from service.adapters.postgres.moves import PostgresMoves
    from service.application.guard_store import NOTE

    shown = await notes.read_note(NOTE) or b""
    target = await PostgresMoves(database).led_to(shown.decode("ascii", "replace"))
    if target is None:
        return _RIGHT_STORE
    return f"`refkeep migrate-store` has moved to another store: {' '.join(_settings_of(parse_location(target)))}"


def _settings_of(location: Location) -> Iterator[str]:
    if isinstance(location, FolderLocation):
        yield from (f"{PREFIX}STORAGE=filesystem", f"{PREFIX}DATA_DIR={location.path.parent}")
        return
    given = {"S3_BUCKET": location.bucket, "S3_ENDPOINT_URL": location.endpoint, "S3_REGION": location.region}
    yield f"{PREFIX}STORAGE=s3"
    yield from (f"{PREFIX}{name}={value}" for name, value in given.items() if value is not None)


def _integrity(marked: int) -> Finding:
    if marked:
        says = f"{marked} blobs are marked missing or corrupt; whoever sends their bytes again heals them."
        return warning("integrity", says, "refkeep fsck --dry-run names them")
    return ok("integrity", "No blob is marked missing or corrupt.")


async def _notes(settings: Settings, stack: AsyncExitStack) -> StoreNotes:
    """The store, without the folders that opening it for uploads would make."""
    if settings.storage == "filesystem":
        from service.adapters.filesystem.storage import FilesystemStorage

        return FilesystemStorage(settings.data_dir / "blobs")
    from service.adapters.s3.storage import S3Storage

    storage = S3Storage(_config(settings), Path(stack.enter_context(TemporaryDirectory(prefix="refkeep-doctor-"))))
    await storage.aopen()
    stack.push_async_callback(storage.aclose)
    return storage


def _config(settings: Settings) -> S3Config:
    from service.adapters.s3.client import S3Config, wants_checksums

    region = settings.s3_region or "us-east-1"
    return S3Config(settings.s3_bucket or "", settings.s3_endpoint_url, region, checksums=wants_checksums())
