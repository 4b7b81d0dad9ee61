"""The backtest wired to a pool with known outcomes."""
