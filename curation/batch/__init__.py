"""The artefact: a batch folder, its audit records and shape, its presentation, what its labels are worth."""
