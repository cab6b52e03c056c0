"""Data sets: layouts, checks, splits, plan, and the prepared cache that training reads."""
