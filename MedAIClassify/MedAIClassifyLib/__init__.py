"""The MedAI Classification module: widget, logic, runs, parameters, self-test."""
