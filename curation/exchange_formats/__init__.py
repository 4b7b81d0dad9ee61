"""Out to annotators and back: Label Studio, Argilla, CSV, Parquet, JSON Lines, and training rows for TRL."""
