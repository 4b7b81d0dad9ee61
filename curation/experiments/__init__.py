"""Experiments with the method: synthetic ground truth, real DPO training on chosen pairs; results in LOG.md."""
