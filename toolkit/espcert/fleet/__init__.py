"""Many images: sources, workers, journal, reports."""
