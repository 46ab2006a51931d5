"""Reading, simulating and preparing sea surface temperature."""
