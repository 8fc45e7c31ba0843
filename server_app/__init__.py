"""The coordinator: the phases in order, the rounds, the run folder and its report."""
