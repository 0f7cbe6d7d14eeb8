"""Records in Redis or Valkey: every operation is one Lua script there, by the server's clock."""

from syncsessions.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
