"""The wiring: a prepared pool, constraints from settings, a solved design, its report."""
