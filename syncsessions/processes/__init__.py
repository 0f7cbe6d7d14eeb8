"""Session processes: one live, totally ordered state machine per user session, in a store, served by any worker."""

from syncsessions.processes.declarations import Reducer, Reply, action, call, cast
from syncsessions.processes.default import DefaultProcess
from syncsessions.processes.effects import Effect
from syncsessions.processes.functions import (
    abroadcast,
    acount_sessions,
    aexpire_sessions,
    afind_sessions,
    aget_session,
    alist_sessions,
    asession_stats,
    astart_session,
    aterminate_sessions,
    broadcast,
    count_sessions,
    expire_sessions,
    find_sessions,
    get_session,
    list_sessions,
    session_stats,
    start_session,
    terminate_sessions,
)
from syncsessions.processes.machine import Action
from syncsessions.processes.process import SessionProcess
from syncsessions.processes.selectors import create_selector
from syncsessions.processes.session import Session
from syncsessions.processes.subscriptions import Subscription

__all__ = [
    "Action",
    "DefaultProcess",
    "Effect",
    "Reducer",
    "Reply",
    "Session",
    "SessionProcess",
    "Subscription",
    "abroadcast",
    "acount_sessions",
    "action",
    "aexpire_sessions",
    "afind_sessions",
    "aget_session",
    "alist_sessions",
    "asession_stats",
    "astart_session",
    "aterminate_sessions",
    "broadcast",
    "call",
    "cast",
    "count_sessions",
    "create_selector",
    "expire_sessions",
    "find_sessions",
    "get_session",
    "list_sessions",
    "session_stats",
    "start_session",
    "terminate_sessions",
]
