"""Scores of forecasts."""

# The predictor that no other can beat, where the world that made the record is known.
BOUND = "bound"
