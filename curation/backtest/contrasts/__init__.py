"""Contrasts, one file each: rules that only a backtest has, by what a design does not look at."""
