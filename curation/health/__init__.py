"""Findings about texts, features and designs: what to mend before paying for labels."""
