"""Out and in: batches to annotation tools (`tools`), their answers back, training rows."""
