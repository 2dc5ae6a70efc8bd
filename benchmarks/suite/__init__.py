"""The parts of the benchmark: who is measured, with what, and how the figures are shown."""
