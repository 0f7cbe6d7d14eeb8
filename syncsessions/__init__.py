"""Session state for Django that outlives the socket."""

__version__ = "0.1.0"
