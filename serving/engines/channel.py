"""Options of gRPC channels to Triton servers."""

from typing import Any


def channel_options() -> list[tuple[str, Any]]:
    """gRPC channel options for a server on this host: large messages, no proxy, quick reconnects after a restart."""
    return [
        ("grpc.max_send_message_length", 64 << 20),
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
