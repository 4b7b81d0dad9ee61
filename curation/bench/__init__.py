"""Speed and memory: stated problems, the solver and its rivals, extraction against bare forward passes."""
