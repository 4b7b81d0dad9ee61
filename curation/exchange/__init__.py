"""Out and in: batches to annotation tools, their answers back, training rows; one file a tool and direction."""
