"""What a design means: explanations, coverage, label equivalents, maps. No plots, no pages."""
