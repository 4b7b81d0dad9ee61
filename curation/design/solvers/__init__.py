"""Solvers of the design problem: Newton by column generation, Frank-Wolfe, warm starts."""
