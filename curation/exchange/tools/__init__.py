"""Annotation tools, one file each: what goes out to it and the answers that come back. `base.Tool` says what one is."""
