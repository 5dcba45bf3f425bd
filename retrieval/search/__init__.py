"""From a query to ranked phrases: dense search, reranking and diversification."""
