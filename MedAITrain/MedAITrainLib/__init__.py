"""The MedAI Train module: what lies behind MedAITrain.py."""
