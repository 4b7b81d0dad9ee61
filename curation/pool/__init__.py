"""Files to pools: readers (one per format), messages, schema, checks, storage; labels, pins and exclusions."""
