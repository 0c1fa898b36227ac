"""This machine: its facts, its container engine, images, model files and queue."""
