"""From a query to ranked phrases."""
