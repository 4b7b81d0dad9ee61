"""The artefact: a batch folder, its audit records and shape, the presentation to annotators, what its labels are worth."""
