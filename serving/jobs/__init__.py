"""Asynchronous jobs: lists of requests that are kept, danced when there is time, and fetched later."""
