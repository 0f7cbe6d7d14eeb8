"""Whether a message comes through the channel layer."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from channels.layers import channel_layers
from django.conf import settings

from syncsessions.status.locations import HIDDEN, shown_location
from syncsessions.status.probe import NoAnswer
from syncsessions.status.servers import Server, server_of

ROUND_TRIP_TIMEOUT = 2.0  # seconds
GOODBYE_TIMEOUT = 0.5  # seconds
TRIES = 3


@dataclass(frozen=True)
class LayerStatus:
    """`round_trip_ms` is a message's way through the layer and back, in milliseconds, None where none came back."""

    alias: str
    backend: str
    location: str | None = None
    round_trip_ms: float | None = None
    server: str | None = None
    error: str | None = None


def configured_layer(alias: str = "default") -> LayerStatus | None:
    """What the settings say of it; None where there is none."""
    layers = getattr(settings, "CHANNEL_LAYERS", None) or {}
    if alias not in layers:
        return None
    config = layers[alias].get("CONFIG") or {}
    hosts = config.get("hosts") if isinstance(config, Mapping) else None
    return LayerStatus(
        alias,
        str(layers[alias].get("BACKEND")),
        None if hosts is None else shown_location(hosts) if isinstance(hosts, list | tuple) else HIDDEN,
    )


def round_trip(alias: str = "default") -> tuple[float, Server | None]:
    """Send a message through a layer of our own making, on a loop of its own: milliseconds, and which server it is.

    Raises `NoAnswer` where it does not come back, and whatever the layer raises.
    """
    try:
        return asyncio.run(_round_trip(channel_layers.make_backend(alias), alias))
    except TimeoutError:
        raise NoAnswer(ROUND_TRIP_TIMEOUT) from None


async def _round_trip(layer: Any, alias: str) -> tuple[float, Server | None]:
    try:
        async with asyncio.timeout(ROUND_TRIP_TIMEOUT):
            channel = await layer.new_channel()
            await _there_and_back(layer, channel)  # connects
            quickest = min([await _there_and_back(layer, channel) for _try in range(TRIES)])
            return quickest, await _server(layer, channel_layers.configs[alias])
    finally:
        if hasattr(layer, "close_pools"):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(GOODBYE_TIMEOUT):
                    await layer.close_pools()


async def _there_and_back(layer: Any, channel: str) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    token = secrets.token_hex(8)
    await layer.send(channel, {"type": "syncsessions.status", "token": token})
    while (await layer.receive(channel)).get("token") != token:
        pass
    return (time.perf_counter() - began) * 1000


async def _server(layer: Any, params: Mapping[str, Any]) -> Server | None:
    """The first host of channels_redis' layers; of others nothing is known."""
    if not type(layer).__module__.startswith("channels_redis."):
        return None
    from channels_redis.utils import create_pool, decode_hosts
    from redis import RedisError
    from redis.asyncio import Redis

    host = decode_hosts((params.get("CONFIG") or {}).get("hosts"))[0]
    client = Redis(connection_pool=create_pool(host))
    try:
        return server_of(await client.info())
    except RedisError:  # an account may be refused that
        return None
    finally:
        await client.connection_pool.disconnect()
