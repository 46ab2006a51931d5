"""What the claims say: measures of attributions, their nulls, and the judge."""
