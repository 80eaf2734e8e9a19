"""What a collection would do, in one statement that reads everything."""

from __future__ import annotations

from service.adapters.postgres.database import Row
from service.ports.collection import Amount, Plan

_NAMES = ("purge", "release", "condemn", "delete", "waiting", "on_hold", "objects")
_HELD = "EXISTS (SELECT FROM holds WHERE holds.sha256 = {of}.sha256)"
# A run ends the trash first, so a ref whose time is over keeps nothing here. No `NOT IN`: where its list outgrows the
# memory of a hash, Postgres goes through the whole of it for every row.
PLAN = f"""
WITH clock AS MATERIALIZED (SELECT refkeep_now() AS now),
ending AS MATERIALIZED (
    SELECT h.workspace_id, h.blob_id, b.size FROM clock, holdings h JOIN blobs b ON b.id = h.blob_id
    WHERE h.lease_until <= clock.now AND NOT {_HELD.format(of="b")}
        AND NOT EXISTS (
            SELECT FROM refs r WHERE r.workspace_id = h.workspace_id AND r.blob_id = h.blob_id
                AND (r.purge_after IS NULL OR r.purge_after > clock.now))
        AND NOT EXISTS (
            SELECT FROM refs r WHERE r.workspace_id = h.workspace_id AND r.original_blob_id = h.blob_id
                AND (r.purge_after IS NULL OR r.purge_after > clock.now))),
staying AS (
    SELECT blob_id FROM holdings EXCEPT ALL SELECT blob_id FROM ending),
shown AS (
    SELECT r.blob_id FROM renditions r JOIN holds ON holds.blob_id = r.parent_id
    UNION ALL
    SELECT blob_id FROM renditions r WHERE EXISTS (SELECT FROM staying WHERE staying.blob_id = r.parent_id)),
going AS (
    SELECT b.size FROM blobs b WHERE NOT {_HELD.format(of="b")}
        AND NOT EXISTS (SELECT FROM staying WHERE staying.blob_id = b.id)
        AND NOT EXISTS (SELECT FROM shown WHERE shown.blob_id = b.id)),
rows AS (
    SELECT 'purge' AS what, b.size FROM clock, refs r JOIN blobs b ON b.id = r.blob_id
    WHERE r.state = 'trashed' AND r.purge_after <= clock.now
    UNION ALL SELECT 'release', size FROM ending
    UNION ALL SELECT 'condemn', size FROM going
    UNION ALL SELECT 'objects', size FROM objects
    UNION ALL SELECT 'delete', size FROM clock, objects WHERE state = 'pending' AND lease_until <= clock.now
    UNION ALL
    SELECT CASE WHEN {
    _HELD.format(of="o")
} THEN 'on_hold' WHEN delete_after <= clock.now THEN 'delete' ELSE 'waiting' END,
        size
    FROM clock, objects o WHERE state = 'condemned'
    UNION ALL SELECT 'on_hold', b.size FROM blobs b JOIN holds ON holds.blob_id = b.id)
SELECT {
    ", ".join(
        f"count(*) FILTER (WHERE what = '{what}') AS {what}_count, "
        f"coalesce(sum(size) FILTER (WHERE what = '{what}'), 0)::bigint AS {what}_bytes"
        for what in _NAMES
    )
} FROM rows
"""


def to_plan(row: Row) -> Plan:
    """From PLAN."""
    return Plan(*(Amount(row[f"{name}_count"], row[f"{name}_bytes"]) for name in _NAMES))
