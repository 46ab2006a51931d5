"""Skill, ablation and the explanation of single forecasts."""
