"""From design weights to a batch of whole labels: sampling, exchange, counting against the constraints."""
