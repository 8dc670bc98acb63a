"""The log of who asked what and was answered how: lines that are chained, so that none can be changed unseen."""
