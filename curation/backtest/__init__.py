"""Does choosing pairs pay where outcomes are known? Splits, learners, figures, reports, the suite of many pools."""
